"""AUROC against seconds and trained weights."""

from __future__ import annotations

from study.reporting.context import TECHNIQUES, ReportContext
from study.reporting.document import DocumentSection, DocumentTable, Prose
from study.reporting.figures.cost import ArmCost, draw_cost
from study.reporting.formatting import Column, Row, frame_of
from study.reporting.sections.arms import seconds_of
from study.reporting.tables import format_number

COLUMNS = (
    Column("number", "number", "d"),
    Column("arm", "arm"),
    Column("auroc", "AUROC", ".4f"),
    Column("seconds", "fit seconds", ".2f"),
    Column("parameters", "weights", ",.0f"),
    Column("front", "nothing is both cheaper and higher"),
)


def section(material: ReportContext) -> DocumentSection | None:
    """Draw the arms of the largest fraction against what a fit costs."""
    arms = [_cost(material, i) for i in range(len(material.full))]
    if len(arms) < 2:
        return None
    if not any(arm.seconds > 0 for arm in arms):
        text = "The trials have no fit times, so there is nothing to set the AUROC against."
        return DocumentSection("cost", "Cost", (Prose(text),))
    rows: list[Row] = [
        {
            "number": arm.number,
            "arm": material.names.of(cell, fraction=False),
            "auroc": format_number(arm.auroc),
            "seconds": format_number(arm.seconds),
            "parameters": format_number(arm.parameters),
            "front": "yes" if on_front(arm, arms) else "no",
        }
        for arm, cell in zip(arms, material.full, strict=True)
    ]
    figure = draw_cost(arms, f"Arms at fraction {material.fullest:g}")
    table = DocumentTable("cost", "What a fit costs.", COLUMNS, frame_of(rows))
    return DocumentSection("cost", "Cost", (figure, table))


def on_front(arm: ArmCost, arms: list[ArmCost]) -> bool:
    """Whether no other arm is at least as fast and high, and better in one of them."""
    return not any(
        other.seconds <= arm.seconds
        and other.auroc >= arm.auroc
        and (other.seconds, other.auroc) != (arm.seconds, arm.auroc)
        for other in arms
    )


def _cost(material: ReportContext, place: int) -> ArmCost:
    cell = material.full[place]
    level, arm = material.evidence.levels[cell.id].auroc, material.evidence.arms[cell.id]
    return ArmCost(
        number=place + 1,
        technique=TECHNIQUES[cell.technique] or "single modality",
        auroc=level.mean,
        low=level.low,
        high=level.high,
        seconds=seconds_of(material, cell),
        parameters=arm.parameters,
    )
