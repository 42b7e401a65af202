"""Learning curves, what data an arm is worth, and claims across fractions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from study.analysis.learning_curves import (
    LearningCurve,
    build_fraction_claims,
    estimate_data_efficiency,
)
from study.reporting import tables as text
from study.reporting.context import ReportContext, format_features, format_head_name
from study.reporting.document import Block, Bullets, DocumentSection, DocumentTable, Figure, Prose
from study.reporting.figures.learning import TOGETHER, draw_learning_curves
from study.reporting.formatting import Column, Row, frame_of

MOST_FIGURES = 8


def section(material: ReportContext) -> DocumentSection:
    """Draw the curves by set of modalities; list points, laws, efficiencies, claims."""
    if not material.curves:
        why = "No arm has finished trials at two training fractions, so there is no curve to show."
        return DocumentSection("scaling", "Learning curves", (Prose(why),))
    tables = [table for table in _tables(material) if len(table.frame)]
    blocks: list[Block] = [*_figures(material), *_flags(material)]
    return DocumentSection("scaling", "Learning curves", (*blocks, *tables))


def _tables(material: ReportContext) -> Iterator[DocumentTable]:
    """Yield what is claimed first."""
    made = [text.claim_row(each) for each in build_fraction_claims(material.evidence)]
    said = text.CLAIM_LEGEND.format(len(made))
    yield _table("claims", "Less data against all of it", said, text.CLAIM_COLUMNS, made)
    reached = [text.efficiency_row(each) for each in estimate_data_efficiency(material.evidence)]
    legend = text.EFFICIENCY_LEGEND
    yield _table("efficiencies", "Data efficiency", legend, text.EFFICIENCY_COLUMNS, reached)
    laws = [row for curve in material.curves for row in text.law_rows(curve)]
    yield _table("power_laws", "Power laws", text.LAW_LEGEND, text.LAW_COLUMNS, laws)
    points = [row for curve in material.curves for row in text.curve_rows(curve)]
    yield _table("curves", "Points of the curves", text.CURVE_LEGEND, text.CURVE_COLUMNS, points)


def _table(
    name: str, heading: str, legend: str, columns: Sequence[Column], rows: Iterable[Row]
) -> DocumentTable:
    return DocumentTable(name, f"{heading}; {legend}", columns, frame_of(rows))


def _figures(material: ReportContext) -> Iterator[Figure]:
    groups: dict[str, list[LearningCurve]] = {}
    for curve in material.curves:
        arm = curve.arms[-1]
        title = format_features(arm) if len(arm.features) > 1 else "single modalities"
        groups.setdefault(title, []).append(curve)
    parts = [
        (title, group[at : at + TOGETHER])
        for title, group in groups.items()
        for at in range(0, len(group), TOGETHER)
    ]
    for number_, (title, part) in enumerate(parts[:MOST_FIGURES], start=1):
        labels = [_label(material, curve, title) for curve in part]
        yield draw_learning_curves(f"curves_{number_}", f"Learning curves: {title}", part, labels)


def _label(material: ReportContext, curve: LearningCurve, title: str) -> str:
    name = material.names.of(curve.arms[-1], fraction=False)
    return name.removeprefix(f"{title}: ") if format_head_name(curve.arms[-1]) else name


def _flags(material: ReportContext) -> list[Bullets]:
    flagged = [curve.name for curve in material.curves if not curve.monotone]
    lines = [f"Not monotone beyond noise: {name}." for name in flagged]
    return [Bullets(tuple(lines))] if lines else []
