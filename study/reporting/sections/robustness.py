"""Section on robustness: other studies, other seeds, ensembles of equal size."""

from __future__ import annotations

from study.analysis.negative_controls import estimate_seed_null
from study.analysis.study_analysis import StudyAnalysis
from study.analysis.verdicts import adjust_holm, judge
from study.metrics import macro_mean
from study.reporting.context import ReportContext
from study.reporting.document import Block, Bullets, DocumentSection, DocumentTable, Prose
from study.reporting.formatting import Column, Row, build_frame, format_count, format_list
from study.reporting.tables import (
    FINDING_COLUMNS,
    build_difference_row,
    build_finding_frame,
    number_or_none,
)

MAX_NULL = 10
"""Maximum number of arms that are compared with themselves under other seeds."""
OTHER_STUDIES = (
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


def section(context: ReportContext) -> DocumentSection:
    """Show other studies, seed-against-seed controls, equal ensembles and warnings."""
    blocks = [
        *_compare_other_studies(context),
        *_compare_seeds(context),
        *_compare_ensembles(context),
        Bullets(_list_warnings(context)),
    ]
    return DocumentSection("robustness", "Robustness", tuple(blocks))


def _compare_other_studies(context: ReportContext) -> list[Block]:
    if not context.others:
        return [Prose("This report compares no other study; name some with --beside.")]
    lines, rows = [], []
    for name, other in context.others.items():
        split = other.results.data.split
        shared = _build_rows(context, name, other)
        lines.append(
            f"{name}: {split.scheme} groups, {split.n_folds} folds x {split.n_repeats}, "
            f"{format_count(len(shared), 'arm')} in both."
        )
        rows += shared
    caption = "The same arms in other studies."
    table = DocumentTable("beside", caption, OTHER_STUDIES, build_frame(rows))
    return [Bullets(tuple(lines)), *([table] if rows else [])]


def _build_rows(context: ReportContext, name: str, other: StudyAnalysis) -> list[Row]:
    here, there = context.analysis.levels, other.levels
    shared = [arm for arm in context.arms if arm.id in there]
    ranks = [
        {key: i for i, key in enumerate(sorted(keys, key=lambda k: -levels[k].auroc.mean), start=1)}
        for levels, keys in ((level, [arm.id for arm in shared]) for level in (here, there))
    ]
    return [
        {
            "study": name,
            "arm": context.names.of(arm),
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


def _compare_seeds(context: ReportContext) -> list[Block]:
    """Compare pairs of seeds of one arm; every verdict that favors a side is wrong."""
    references = dict.fromkeys(c.reference.id for c in context.analysis.contrasts)
    arms = [arm for arm in context.full if arm.id in references][:MAX_NULL]
    pairs = [(arm, d) for arm in arms for d in estimate_seed_null(context.analysis, arm)]
    if not pairs:
        return [Prose("Every arm has one seed, so there is no seed-against-seed control.")]
    adjusted = adjust_holm([difference.p for _, difference in pairs])
    verdicts = [judge(difference, p) for (_, difference), p in zip(pairs, adjusted, strict=True)]
    rows: list[Row] = [
        {
            "arm": context.names.of(arm),
            **build_difference_row("difference", difference),
            "p_holm": number_or_none(verdict.p_holm),
            "verdict": str(verdict),
        }
        for (arm, difference), verdict in zip(pairs, verdicts, strict=True)
    ]
    wrong = sum(verdict.kind in ("wins", "suggestive") for verdict in verdicts)
    text = f"Seeds against seeds: {wrong} of {len(rows)} pairs of one model are claimed to differ."
    table = DocumentTable("seed_null", "The same arm under two seeds.", NULL, build_frame(rows))
    return [Prose(text), table]


def _compare_ensembles(context: ReportContext) -> list[Block]:
    """List the findings on ensembles of equal size, and those of the family ``control``."""
    models = context.analysis.arms
    equal = [
        finding
        for finding in context.analysis.findings
        if finding.equal_size and models[finding.contrast.arm.id].models > 1
    ]
    controls = [f for f in context.analysis.findings if f.contrast.family == "control"]
    chosen = [*equal, *(f for f in controls if f not in equal)]
    if not chosen:
        return []
    caption = "The label balancer against the mean of independent models, and equal ensembles."
    return [DocumentTable("equal_ensembles", caption, FINDING_COLUMNS, build_finding_frame(chosen))]


def _list_warnings(context: ReportContext) -> tuple[str, ...]:
    results = context.analysis.results
    undefined = sum(macro_mean(r.auroc).undefined for r in results.by_id.values())
    unequal = [f for f in context.analysis.findings if not f.equal_size]
    dropping = [curve.name for curve in context.curves if not curve.monotone]
    lines = [f"Undefined label and fold pairs: {undefined}."]
    lines.append(
        f"Contrasts of an ensemble with a single model (marked *): {len(unequal)}."
        if unequal
        else "No contrast compares an ensemble with a single model."
    )
    if context.unequal:
        lines.append(
            "Not compared, because one side averages more models than the other: "
            f"{format_list([context.title(contrast) for contrast in context.unequal])}."
        )
    if dropping:
        lines.append(f"Learning curves with a significant drop: {format_list(dropping)}.")
    return tuple(lines)
