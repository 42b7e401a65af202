"""The report of a small study: sections, formats, accessibility, reproducibility."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from study.analysis.embedding_map import build_embedding_maps, compute_principal_axes
from study.analysis.study_analysis import StudyAnalysis
from study.errors import InputError
from study.planning.contrasts import build_default_contrasts
from study.reporting import sections
from study.reporting.build import (
    ORDER,
    build_report_files,
    compose_report,
    report_study,
    write_report,
)
from study.reporting.context import ArmNames, ReportContext
from study.reporting.document import Bullets, Document, DocumentSection, DocumentTable
from study.reporting.formatting import Column, build_frame
from study.reporting.output import to_html, to_markdown
from study.reporting.sections import cost
from study.results.study_results import ResultSnapshot


@pytest.fixture(scope="module")
def analysis(wide_results):
    contrasts = build_default_contrasts(wide_results.plan.arms)
    return StudyAnalysis(wide_results, contrasts)


@pytest.fixture(scope="module")
def document(analysis):
    return compose_report(analysis, {"twin": analysis})


class Page(HTMLParser):
    """Tags with their attributes, and the text of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_every_section_module_is_listed():
    names = {module.__name__.rsplit(".", 1)[1] for module in ORDER}
    files = Path(sections.__file__).parent.glob("[!_]*.py")
    assert names == {file.stem for file in files}


def test_every_section_is_built(document):
    anchors = {section.anchor for section in document.sections}
    assert anchors == {module.__name__.rsplit(".", 1)[1] for module in ORDER}
    for section in document.sections:
        assert section.blocks, section.anchor
    drawn = {figure.name.rstrip("0123456789") for figure in document.figures}
    assert {"forest_technique", "pairwise", "folds", "curves_", "sparse_", "shares", "worth",
            "owners_", "embedding_characters", "cost"} <= drawn  # fmt: skip
    assert all(len(table.frame) for table in document.tables)


def test_page_has_no_external_resources(document):
    page = Page(to_html(document))
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in to_html(document)
    assert not re.search(r"url\((?!#)", to_html(document))


def test_ids_are_unique_and_references_resolve(document):
    page = Page(to_html(document))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    references = {
        a["xlink:href"][1:] for _, a in page.tags if "xlink:href" in a and a["xlink:href"][0] == "#"
    }
    references |= set(re.findall(r"url\(#([^)]+)\)", to_html(document)))
    references |= {w for _, a in page.tags for w in a.get("aria-labelledby", "").split()}
    assert references <= set(names)


def test_figures_have_text_alternatives(document):
    page = to_html(document)
    images = [a for tag, a in Page(page).tags if tag == "svg"]
    assert len(images) == len(document.figures) > 8
    for figure, attributes in zip(document.figures, images, strict=True):
        assert attributes["role"] == "img"
        assert f'<desc id="{figure.name}-words">' in page
        assert len(figure.description) > 40
        assert "nan" not in figure.description


def test_markdown_and_csv_match_the_page(document, tmp_path):
    written = write_report(document, tmp_path)
    markdown, words = to_markdown(document), " ".join(Page(to_html(document)).texts)
    for section in document.sections:
        for block in section.blocks:
            texts = block.items if isinstance(block, Bullets) else [getattr(block, "text", "")]
            assert all(text in markdown and text in words for text in texts)
    for table in document.tables:
        with (tmp_path / "tables" / f"{table.name}.csv").open(encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == len(table.frame)
        assert table.caption in markdown
        assert f'id="table-{table.name}"' in to_html(document)
    for name in re.findall(r"\]\((figures/[^)]+)\)", markdown):
        assert (tmp_path / name).stat().st_size > 1000
    assert written[0].name == "report.html"


def test_reports_are_reproducible(document, analysis):
    again = StudyAnalysis(analysis.results, analysis.contrasts)
    assert build_report_files(compose_report(again, {"twin": again})) == build_report_files(
        document
    )


def test_verdict_section_shows_the_findings(document, analysis):
    box = document.sections[0].blocks[0]
    assert 3 <= len(box.items) <= 7
    best = max(analysis.levels.values(), key=lambda level: level.auroc.mean)
    assert f"{best.auroc.mean:.4f} [{best.auroc.low:.4f}, {best.auroc.high:.4f}]" in box.items[0]
    for finding in ReportContext(analysis).headlines:
        macro = finding.macro
        number = f"{macro.estimate:+.4f} [{macro.low:+.4f}, {macro.high:+.4f}]"
        (sentence,) = [item for item in box.items if number in item]
        assert sentence.split("Verdict: ")[1].startswith(str(finding.verdict))


def test_headlines_are_selected_by_contrast(analysis):
    chosen = ReportContext(analysis).headlines
    assert {f.contrast.family for f in chosen} == {c.family for c in analysis.contrasts}
    assert {f.contrast.arm.fraction for f in chosen} == {1.0}


def test_unfinished_study_reports_missing_trials(wide_results):
    results = wide_results
    trials = {r.id: r for arm in results.plan.arms[:2] for r in results.results_of(arm)[:1]}
    partial = ResultSnapshot(results.study, trials)
    report = compose_report(StudyAnalysis(partial, build_default_contrasts(partial.plan.arms)))
    assert "Not complete" in report.sections[0].blocks[0].items[-1]
    assert "nan" not in " ".join(Page(to_html(report)).texts).split()
    with pytest.raises(InputError, match="no finished trial"):
        compose_report(StudyAnalysis(ResultSnapshot(partial.study, {}), ()))


def test_report_study_writes_the_named_files(wide_results, tmp_path):
    storage = wide_results.spec.run.storage
    text, complete = report_study("wide", storage, tmp_path / "out", ["wide"])
    assert complete
    assert f"report:  {tmp_path / 'out' / 'report.html'}" in text
    assert "The same arms in other studies" in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(InputError, match="holds no study"):
        report_study("nowhere", storage, None)


def test_html_is_escaped():
    table = DocumentTable("t", "<b>", (Column("a", "<i>"),), build_frame([{"a": "<script>"}]))
    page = to_html(Document("<u>", "&", (DocumentSection("s", "s", (table,)),)))
    for raw in ("<b>", "<i>", "<script>alert", "<u>"):
        assert raw not in page
    assert "&lt;script&gt;" in page


def test_report_deletes_only_its_old_files(tmp_path):
    old = Document(
        "t",
        "",
        (DocumentSection("s", "s", (DocumentTable("old", "c", (), build_frame([{"a": 1}])),)),),
    )
    write_report(old, tmp_path)
    (tmp_path / "tables" / "mine.csv").write_text("x")
    write_report(Document("t", "", ()), tmp_path)
    assert [file.name for file in (tmp_path / "tables").iterdir()] == ["mine.csv"]


def test_arm_names_are_unique(analysis):
    arms = analysis.results.plan.arms
    assert len({ArmNames(arms).of(arm) for arm in arms}) == len(arms)


def test_pareto_front_of_cost_and_auroc():
    def arm(seconds, auroc):
        return cost.ArmCost(1, "", auroc, 0, 0, seconds, 0)

    arms = [arm(1, 0.7), arm(2, 0.8), arm(3, 0.75), arm(2, 0.8), arm(2, 0.6)]
    assert [cost.is_on_front(arm_cost, arms) for arm_cost in arms] == [
        True,
        True,
        False,
        True,
        False,
    ]


def test_principal_axes_agree_with_svd():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    values[:, 3] = 7  # does not vary
    points, shares = compute_principal_axes(values.astype(np.float32))
    varying = np.delete(values.astype(np.float32).astype(float), 3, axis=1)
    scaled = (varying - varying.mean(0)) / varying.std(0)
    singular = np.linalg.svd(scaled, compute_uv=False)
    assert np.linalg.norm(points, axis=0) == pytest.approx(singular[:2], rel=1e-6)
    assert shares == pytest.approx(singular[:2] ** 2 / (singular**2).sum(), rel=1e-6)


def test_map_of_tuned_encoder_shows_test_molecules(analysis):
    (embedding_map,) = build_embedding_maps(analysis)
    fold = analysis.results.data.fold(embedding_map.job.fold_key)
    assert len(embedding_map.points) == len(fold.test)
    data = analysis.results.data.dataset
    assert embedding_map.regions
    for region in embedding_map.regions:
        column = data.label_names.index(region.label)
        members = embedding_map.points[data.labels[fold.test, column] == 1]
        indices = [np.abs(axis[:, None] - members[:, i]).argmin(axis=0)
              for i, axis in enumerate((region.x, region.y))]  # fmt: skip
        inside = region.density[indices[1], indices[0]] >= region.half
        assert abs(inside.mean() - 0.5) <= 1.01 / len(members)  # one may lie on the line
