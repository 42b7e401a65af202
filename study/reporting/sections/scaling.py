"""Section on scaling: learning curves, data efficiency, and claims across fractions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from study.analysis.learning_curves import (
    LearningCurve,
    build_fraction_claims,
    estimate_data_efficiency,
)
from study.reporting.context import ReportContext, format_features, format_head_name
from study.reporting.document import Block, Bullets, DocumentSection, DocumentTable, Figure, Prose
from study.reporting.figures.learning import MAX_TOGETHER, draw_learning_curves
from study.reporting.formatting import Column, Row, build_frame
from study.reporting.tables import (
    CLAIM_COLUMNS,
    CLAIM_LEGEND,
    CURVE_COLUMNS,
    CURVE_LEGEND,
    EFFICIENCY_COLUMNS,
    EFFICIENCY_LEGEND,
    LAW_COLUMNS,
    LAW_LEGEND,
    build_claim_row,
    build_curve_rows,
    build_efficiency_row,
    build_law_rows,
)

MAX_FIGURES = 8


def section(context: ReportContext) -> DocumentSection:
    """Draw the curves by set of modalities; list claims, efficiencies, power laws and points."""
    if not context.curves:
        why = "No arm has finished trials at two training fractions, so there is no curve to show."
        return DocumentSection("scaling", "Learning curves", (Prose(why),))
    tables = [table for table in _build_tables(context) if len(table.frame)]
    blocks: list[Block] = [*_draw_figures(context), *_list_drops(context)]
    return DocumentSection("scaling", "Learning curves", (*blocks, *tables))


def _build_tables(context: ReportContext) -> Iterator[DocumentTable]:
    """Yield the tables, the one with the claims first."""
    claims = list(map(build_claim_row, build_fraction_claims(context.analysis)))
    legend = CLAIM_LEGEND.format(len(claims))
    yield _build_table("claims", "Less data against all of it", legend, CLAIM_COLUMNS, claims)
    efficiencies = map(build_efficiency_row, estimate_data_efficiency(context.analysis))
    legend = EFFICIENCY_LEGEND
    yield _build_table("efficiencies", "Data efficiency", legend, EFFICIENCY_COLUMNS, efficiencies)
    laws = [row for curve in context.curves for row in build_law_rows(curve)]
    yield _build_table("power_laws", "Power laws", LAW_LEGEND, LAW_COLUMNS, laws)
    points = [row for curve in context.curves for row in build_curve_rows(curve)]
    yield _build_table("curves", "Points of the curves", CURVE_LEGEND, CURVE_COLUMNS, points)


def _build_table(
    name: str, heading: str, legend: str, columns: Sequence[Column], rows: Iterable[Row]
) -> DocumentTable:
    return DocumentTable(name, f"{heading}; {legend}", columns, build_frame(rows))


def _draw_figures(context: ReportContext) -> Iterator[Figure]:
    groups: dict[str, list[LearningCurve]] = {}
    for curve in context.curves:
        arm = curve.arms[-1]
        title = format_features(arm) if len(arm.features) > 1 else "single modalities"
        groups.setdefault(title, []).append(curve)
    parts = [
        (title, group[start : start + MAX_TOGETHER])
        for title, group in groups.items()
        for start in range(0, len(group), MAX_TOGETHER)
    ]
    for number, (title, part) in enumerate(parts[:MAX_FIGURES], start=1):
        labels = [_format_label(context, curve, title) for curve in part]
        yield draw_learning_curves(f"curves_{number}", f"Learning curves: {title}", part, labels)


def _format_label(context: ReportContext, curve: LearningCurve, title: str) -> str:
    name = context.names.of(curve.arms[-1], fraction=False)
    return name.removeprefix(f"{title}: ") if format_head_name(curve.arms[-1]) else name


def _list_drops(context: ReportContext) -> list[Bullets]:
    dropping = [curve.name for curve in context.curves if not curve.monotone]
    lines = [f"Significant drop: {name}." for name in dropping]
    return [Bullets(tuple(lines))] if lines else []
