"""Section on cost: AUROC against seconds and number of trained weights."""

from __future__ import annotations

from study.reporting.context import TECHNIQUES, ReportContext
from study.reporting.document import DocumentSection, DocumentTable, Prose
from study.reporting.figures.cost import ArmCost, draw_cost
from study.reporting.formatting import Column, Row, build_frame
from study.reporting.sections.arms import sum_fit_seconds
from study.reporting.tables import number_or_none

COLUMNS = (
    Column("number", "number", "d"),
    Column("arm", "arm"),
    Column("auroc", "AUROC", ".4f"),
    Column("seconds", "fit seconds", ".2f"),
    Column("parameters", "weights", ",.0f"),
    Column("front", "nothing is both cheaper and higher"),
)


def section(context: ReportContext) -> DocumentSection | None:
    """Draw AUROC against the cost of a fit for the arms at the largest fraction."""
    costs = [_measure_cost(context, i) for i in range(len(context.full))]
    if len(costs) < 2:
        return None
    if not any(cost.seconds > 0 for cost in costs):
        text = "The trials have no fit times, so the AUROC cannot be compared with the cost."
        return DocumentSection("cost", "Cost", (Prose(text),))
    rows: list[Row] = [
        {
            "number": cost.number,
            "arm": context.names.of(arm, fraction=False),
            "auroc": number_or_none(cost.auroc),
            "seconds": number_or_none(cost.seconds),
            "parameters": number_or_none(cost.parameters),
            "front": "yes" if is_on_front(cost, costs) else "no",
        }
        for cost, arm in zip(costs, context.full, strict=True)
    ]
    figure = draw_cost(costs, f"Arms at fraction {context.fullest:g}")
    table = DocumentTable("cost", "Cost of a fit.", COLUMNS, build_frame(rows))
    return DocumentSection("cost", "Cost", (figure, table))


def is_on_front(arm: ArmCost, arms: list[ArmCost]) -> bool:
    """Whether the arm is on the Pareto front of seconds and AUROC."""
    return not any(
        other.seconds <= arm.seconds
        and other.auroc >= arm.auroc
        and (other.seconds, other.auroc) != (arm.seconds, arm.auroc)
        for other in arms
    )


def _measure_cost(context: ReportContext, index: int) -> ArmCost:
    arm = context.full[index]
    level, scores = context.analysis.levels[arm.id].auroc, context.analysis.arms[arm.id]
    return ArmCost(
        number=index + 1,
        technique=TECHNIQUES[arm.technique] or "single modality",
        auroc=level.mean,
        low=level.low,
        high=level.high,
        seconds=sum_fit_seconds(context, arm),
        parameters=scores.parameters,
    )
