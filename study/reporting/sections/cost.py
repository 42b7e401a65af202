"""AUROC against seconds and trained weights."""

from __future__ import annotations

from study.reporting.context import TECHNIQUES, ReportContext
from study.reporting.document import DocumentSection, DocumentTable, Prose
from study.reporting.figures.cost import ArmCost, draw_cost
from study.reporting.formatting import Column, Row, frame_of
from study.reporting.sections.arms import seconds_of
from study.reporting.tables import number_or_none

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
    all_scores = [_cost(material, i) for i in range(len(material.full))]
    if len(all_scores) < 2:
        return None
    if not any(scores.seconds > 0 for scores in all_scores):
        text = "The trials have no fit times, so there is nothing to set the AUROC against."
        return DocumentSection("cost", "Cost", (Prose(text),))
    rows: list[Row] = [
        {
            "number": scores.number,
            "arm": material.names.of(arm, fraction=False),
            "auroc": number_or_none(scores.auroc),
            "seconds": number_or_none(scores.seconds),
            "parameters": number_or_none(scores.parameters),
            "front": "yes" if on_front(scores, all_scores) else "no",
        }
        for scores, arm in zip(all_scores, material.full, strict=True)
    ]
    figure = draw_cost(all_scores, f"Arms at fraction {material.fullest:g}")
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
    arm = material.full[place]
    level, scores = material.evidence.levels[arm.id].auroc, material.evidence.arms[arm.id]
    return ArmCost(
        number=place + 1,
        technique=TECHNIQUES[arm.technique] or "single modality",
        auroc=level.mean,
        low=level.low,
        high=level.high,
        seconds=seconds_of(material, arm),
        parameters=scores.parameters,
    )
