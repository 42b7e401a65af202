"""The report of a small study: every section, the same content everywhere, the same bytes twice."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from study.analysis.embedding_map import build_embedding_maps, principal_axes
from study.analysis.study_analysis import StudyAnalysis
from study.errors import InputError
from study.planning.contrasts import build_default_contrasts
from study.reporting import sections
from study.reporting.build import ORDER, compose_report, report_files, report_study, write_report
from study.reporting.context import ArmNames, ReportContext
from study.reporting.document import Bullets, Document, DocumentSection, DocumentTable
from study.reporting.formatting import Column, frame_of
from study.reporting.output import to_html, to_markdown
from study.reporting.sections import cost
from study.results.study_results import StudyResults


@pytest.fixture(scope="module")
def evidence(wide_record):
    contrasts = build_default_contrasts(wide_record.plan.arms)
    return StudyAnalysis(wide_record, contrasts)


@pytest.fixture(scope="module")
def document(evidence):
    return compose_report(evidence, {"twin": evidence})


class Page(HTMLParser):
    """Tags with their attributes, and the text of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data.strip())


def test_every_section_file_is_in_the_order_of_the_page():
    words = {module.__name__.rsplit(".", 1)[1] for module in ORDER}
    files = Path(sections.__file__).parent.glob("[!_]*.py")
    assert words == {file.stem for file in files}


def test_a_study_of_two_seeds_and_fractions_shows_every_section(document):
    found = {section.anchor for section in document.sections}
    assert found == {module.__name__.rsplit(".", 1)[1] for module in ORDER}
    for section in document.sections:
        assert section.blocks, section.anchor
    drawn = {figure.name.rstrip("0123456789") for figure in document.figures}
    assert {"forest_technique", "pairwise", "folds", "curves_", "sparse_", "shares", "worth",
            "owners_", "embedding_characters", "cost"} <= drawn  # fmt: skip
    assert all(len(table.frame) for table in document.tables)


def test_the_page_needs_nothing_from_elsewhere(document):
    page = Page(to_html(document))
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in to_html(document)
    assert not re.search(r"url\((?!#)", to_html(document))


def test_no_address_stands_twice_and_each_points_somewhere(document):
    page = Page(to_html(document))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    asked = {
        a["xlink:href"][1:] for _, a in page.tags if "xlink:href" in a and a["xlink:href"][0] == "#"
    }
    asked |= set(re.findall(r"url\(#([^)]+)\)", to_html(document)))
    asked |= {w for _, a in page.tags for w in a.get("aria-labelledby", "").split()}
    assert asked <= set(names)


def test_figures_have_words_for_those_who_cannot_see_them(document):
    page = to_html(document)
    images = [a for tag, a in Page(page).tags if tag == "svg"]
    assert len(images) == len(document.figures) > 8
    for figure, attributes in zip(document.figures, images, strict=True):
        assert attributes["role"] == "img"
        assert f'<desc id="{figure.name}-words">' in page
        assert len(figure.description) > 40
        assert "nan" not in figure.description


def test_markdown_and_csv_have_what_the_page_has(document, tmp_path):
    written = write_report(document, tmp_path)
    markdown, words = to_markdown(document), " ".join(Page(to_html(document)).words)
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


def test_two_reports_of_one_ledger_are_the_same_bytes(document, evidence):
    again = StudyAnalysis(evidence.record, evidence.contrasts)
    assert report_files(compose_report(again, {"twin": again})) == report_files(document)


def test_the_verdict_names_numbers_of_the_findings(document, evidence):
    box = document.sections[0].blocks[0]
    assert 3 <= len(box.items) <= 7
    best = max(evidence.levels.values(), key=lambda level: level.auroc.mean)
    assert f"{best.auroc.mean:.4f} [{best.auroc.low:.4f}, {best.auroc.high:.4f}]" in box.items[0]
    for finding in ReportContext(evidence).headlines:
        macro = finding.macro
        number = f"{macro.estimate:+.4f} [{macro.low:+.4f}, {macro.high:+.4f}]"
        (sentence,) = [item for item in box.items if number in item]
        assert sentence.split("Verdict: ")[1].startswith(str(finding.verdict))


def test_headlines_are_chosen_by_what_was_asked(evidence):
    chosen = ReportContext(evidence).headlines
    assert {f.contrast.family for f in chosen} == {c.family for c in evidence.contrasts}
    assert {f.contrast.arm.fraction for f in chosen} == {1.0}


def test_an_unfinished_study_says_what_is_missing(wide_record):
    record = wide_record
    kept = {r.id: r for arm in record.plan.arms[:2] for r in record.results_of(arm)[:1]}
    some = StudyResults(record.study, kept)
    found = compose_report(StudyAnalysis(some, build_default_contrasts(some.plan.arms)))
    assert "Not complete" in found.sections[0].blocks[0].items[-1]
    assert "nan" not in " ".join(Page(to_html(found)).words).split()
    with pytest.raises(InputError, match="no finished trial"):
        compose_report(StudyAnalysis(StudyResults(some.study, {}), ()))


def test_the_command_writes_where_it_says(wide_record, tmp_path):
    storage = wide_record.spec.run.storage
    text, complete = report_study("wide", storage, tmp_path / "out", ["wide"])
    assert complete
    assert f"report:  {tmp_path / 'out' / 'report.html'}" in text
    assert "The same arms elsewhere" in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(InputError, match="holds no study"):
        report_study("nowhere", storage, None)


def test_text_is_escaped():
    table = DocumentTable("t", "<b>", (Column("a", "<i>"),), frame_of([{"a": "<script>"}]))
    page = to_html(Document("<u>", "&", (DocumentSection("s", "s", (table,)),)))
    for raw in ("<b>", "<i>", "<script>alert", "<u>"):
        assert raw not in page
    assert "&lt;script&gt;" in page


def test_a_report_removes_its_own_old_files_only(tmp_path):
    old = Document(
        "t",
        "",
        (DocumentSection("s", "s", (DocumentTable("old", "c", (), frame_of([{"a": 1}])),)),),
    )
    write_report(old, tmp_path)
    (tmp_path / "tables" / "mine.csv").write_text("x")
    write_report(Document("t", "", ()), tmp_path)
    assert [file.name for file in (tmp_path / "tables").iterdir()] == ["mine.csv"]


def test_names_tell_all_arms_apart(evidence):
    arms = evidence.record.plan.arms
    assert len({ArmNames(arms).of(arm) for arm in arms}) == len(arms)


def test_the_cheap_and_high_are_on_the_front():
    def arm(seconds, auroc):
        return cost.ArmCost(1, "", auroc, 0, 0, seconds, 0)

    arms = [arm(1, 0.7), arm(2, 0.8), arm(3, 0.75), arm(2, 0.8), arm(2, 0.6)]
    assert [cost.on_front(each, arms) for each in arms] == [True, True, False, True, False]


def test_principal_axes_against_the_singular_values():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    values[:, 3] = 7  # does not vary
    points, shares = principal_axes(values.astype(np.float32))
    kept = np.delete(values.astype(np.float32).astype(float), 3, axis=1)
    scaled = (kept - kept.mean(0)) / kept.std(0)
    singular = np.linalg.svd(scaled, compute_uv=False)
    assert np.linalg.norm(points, axis=0) == pytest.approx(singular[:2], rel=1e-6)
    assert shares == pytest.approx(singular[:2] ** 2 / (singular**2).sum(), rel=1e-6)


def test_a_map_shows_the_test_molecules_of_a_tuned_encoder(evidence):
    (found,) = build_embedding_maps(evidence)
    fold = evidence.record.data.fold(found.job.place)
    assert len(found.points) == len(fold.test)
    data = evidence.record.data.dataset
    assert found.regions
    for region in found.regions:
        column = data.label_names.index(region.label)
        members = found.points[data.labels[fold.test, column] == 1]
        at = [np.abs(axis[:, None] - members[:, i]).argmin(axis=0)
              for i, axis in enumerate((region.x, region.y))]  # fmt: skip
        inside = region.density[at[1], at[0]] >= region.half
        assert abs(inside.mean() - 0.5) <= 1.01 / len(members)  # one may lie on the line
