"""Whether the conclusions hold elsewhere: other splits, other seeds, equal ensembles."""

from __future__ import annotations

from study.analysis.negative_controls import estimate_seed_null
from study.analysis.study_analysis import StudyAnalysis
from study.analysis.verdicts import adjust_holm, judge
from study.metrics import macro_mean
from study.reporting.context import ReportContext
from study.reporting.document import Block, Bullets, DocumentSection, DocumentTable, Prose
from study.reporting.formatting import Column, Row, format_count, format_list, frame_of
from study.reporting.tables import FINDING_COLUMNS, difference_row, finding_frame, number_or_none

MOST_NULL = 10
"""Arms that are set against themselves."""
BESIDE = (
    Column("study", "study"),
    Column("arm", "arm"),
    Column("here", "AUROC here [95 % CI]", ".4f", ("here_low", "here_high")),
    Column("there", "AUROC there [95 % CI]", ".4f", ("there_low", "there_high")),
    Column("change", "change (unpaired)", "+.4f"),
    Column("rank_here", "rank here", "d"),
    Column("rank_there", "rank there", "d"),
)
NULL = (
    Column("arm", "arm, one seed against another"),
    Column("difference", "difference [95 % CI]", "+.4f", ("difference_low", "difference_high")),
    Column("p_holm", "p (Holm)", ".3f"),
    Column("verdict", "verdict"),
)


def section(material: ReportContext) -> DocumentSection:
    """Show other studies, the seed-null, ensembles of equal size, and what is undefined."""
    blocks = [*_beside(material), *_null(material), *_equal(material), Bullets(_flags(material))]
    return DocumentSection("robustness", "Robustness", tuple(blocks))


def _beside(material: ReportContext) -> list[Block]:
    if not material.beside:
        return [Prose("No other study is set beside this one (--beside names them).")]
    lines, rows = [], []
    for name, other in material.beside.items():
        split = other.record.data.split
        found = _rows(material, name, other)
        lines.append(
            f"{name}: {split.scheme} groups, {split.n_folds} folds x {split.n_repeats}, "
            f"{format_count(len(found), 'arm')} in both."
        )
        rows += found
    table = DocumentTable("beside", "The same arms elsewhere.", BESIDE, frame_of(rows))
    return [Bullets(tuple(lines)), *([table] if rows else [])]


def _rows(material: ReportContext, name: str, other: StudyAnalysis) -> list[Row]:
    here, there = material.evidence.levels, other.levels
    shared = [arm for arm in material.arms if arm.id in there]
    ranks = [
        {key: i for i, key in enumerate(sorted(keys, key=lambda k: -levels[k].auroc.mean), start=1)}
        for levels, keys in ((level, [arm.id for arm in shared]) for level in (here, there))
    ]
    return [
        {
            "study": name,
            "arm": material.names.of(arm),
            "here": number_or_none(here[arm.id].auroc.mean),
            "here_low": number_or_none(here[arm.id].auroc.low),
            "here_high": number_or_none(here[arm.id].auroc.high),
            "there": number_or_none(there[arm.id].auroc.mean),
            "there_low": number_or_none(there[arm.id].auroc.low),
            "there_high": number_or_none(there[arm.id].auroc.high),
            "change": number_or_none(there[arm.id].auroc.mean - here[arm.id].auroc.mean),
            "rank_here": ranks[0][arm.id],
            "rank_there": ranks[1][arm.id],
        }
        for arm in shared
    ]


def _null(material: ReportContext) -> list[Block]:
    """Two seeds of one arm: whatever is claimed here is wrong."""
    references = dict.fromkeys(c.reference.id for c in material.evidence.contrasts)
    arms = [arm for arm in material.full if arm.id in references][:MOST_NULL]
    found = [(arm, each) for arm in arms for each in estimate_seed_null(material.evidence, arm)]
    if not found:
        return [Prose("Every arm has one seed, so there is no seed-against-seed control.")]
    adjusted = adjust_holm([each.p for _, each in found])
    verdicts = [judge(each, p) for (_, each), p in zip(found, adjusted, strict=True)]
    rows: list[Row] = [
        {
            "arm": material.names.of(arm),
            **difference_row("difference", each),
            "p_holm": number_or_none(verdict.p_holm),
            "verdict": str(verdict),
        }
        for (arm, each), verdict in zip(found, verdicts, strict=True)
    ]
    wrong = sum(verdict.kind in ("wins", "suggestive") for verdict in verdicts)
    text = f"Seeds against seeds: {wrong} of {len(rows)} pairs of one model are said to differ."
    table = DocumentTable("seed_null", "The same arm under two seeds.", NULL, frame_of(rows))
    return [Prose(text), table]


def _equal(material: ReportContext) -> list[Block]:
    """Ensembles against ensembles of their size."""
    models = material.evidence.arms
    found = [
        finding
        for finding in material.evidence.findings
        if finding.equal_size and models[finding.contrast.arm.id].models > 1
    ]
    controls = [f for f in material.evidence.findings if f.contrast.family == "control"]
    chosen = [*found, *(f for f in controls if f not in found)]
    if not chosen:
        return []
    caption = "The label balancer against the mean of independent models, and equal ensembles."
    return [DocumentTable("equal_ensembles", caption, FINDING_COLUMNS, finding_frame(chosen))]


def _flags(material: ReportContext) -> tuple[str, ...]:
    record = material.evidence.record
    undefined = sum(macro_mean(r.auroc).undefined for r in record.by_id.values())
    uneven = [f for f in material.evidence.findings if not f.equal_size]
    bent = [curve.name for curve in material.curves if not curve.monotone]
    lines = [f"Undefined label and fold pairs: {undefined}."]
    lines.append(
        f"{format_count(len(uneven), 'contrast')} set an ensemble against a single model (marked "
        "*)."
        if uneven
        else "No contrast sets an ensemble against a single model."
    )
    if material.unequal:
        lines.append(
            f"Not compared, because one side averages more models than the other: "
            f"{format_list([material.title(each) for each in material.unequal])}."
        )
    if bent:
        lines.append(f"Learning curves that are not monotone beyond noise: {format_list(bent)}.")
    return tuple(lines)
