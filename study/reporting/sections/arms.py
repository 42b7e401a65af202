"""Section with the main table, in the layout of the published one."""

from __future__ import annotations

from collections.abc import Sequence

from study.analysis.study_analysis import ContrastResult
from study.planning.trials import Arm
from study.reporting.context import MEAN, ReportContext, format_features, format_head_name
from study.reporting.document import Bullets, DocumentSection, DocumentTable, Prose
from study.reporting.formatting import Column, Row, build_frame
from study.reporting.tables import UNEQUAL, build_difference_row, find_unconverged, number_or_none

COLUMNS = (
    Column("features", "features"),
    Column("multimodal", "multimodal"),
    Column("technique", "technique / fusion"),
    Column("fraction", "fraction", "g"),
    Column("auroc", "AUROC [95 % CI]", ".4f", ("auroc_low", "auroc_high")),
    Column("ap", "AP", ".4f"),
    Column("difference", "difference [95 % CI]", "+.4f", ("difference_low", "difference_high")),
    Column("reference", "to"),
    Column("verdict", "verdict"),
    Column("models", "models", "d"),
    Column("parameters", "weights", ",.0f"),
    Column("seconds", "fit seconds", ".1f"),
    Column("trials", "trials"),
)

MAX_NOTES = 5
"""Maximum number of arms that are named as not converged."""


def section(context: ReportContext) -> DocumentSection:
    """Build the table of all arms: largest fraction first, then the order of the study file."""
    arms = sorted(context.analysis.results.plan.arms, key=lambda arm: -arm.fraction)
    rows = [build_row(context, arm) for arm in arms]
    lines = find_unconverged(context.analysis.results.summaries)
    more = [f"... and {len(lines) - MAX_NOTES} more arms."] if len(lines) > MAX_NOTES else []
    notes = [*lines[:MAX_NOTES], *more]
    if any("*" in (row["verdict"] or "") for row in rows):
        notes.insert(0, UNEQUAL)
    blocks = (Prose(NOTE), DocumentTable("arms", "Every arm.", COLUMNS, build_frame(rows)))
    return DocumentSection(
        "arms", "Main table", (*blocks, *([Bullets(tuple(notes))] if notes else []))
    )


NOTE = (
    "In the order of the study file, not of the results; click a heading to sort. AUROC: interval "
    "of the corrected t over the folds. Difference: paired on the same folds and seeds, interval "
    "of the influence curve. Models: number of separately trained models whose scores are "
    "averaged; an ensemble is compared with an ensemble of the same size. The seconds of an "
    "ensemble are those of its members together."
)


def build_row(context: ReportContext, arm: Arm) -> Row:
    """Build the row of one arm; undefined numbers are None."""
    analysis, results = context.analysis, context.analysis.results
    scores, level = analysis.arms.get(arm.id), analysis.levels.get(arm.id)
    finding = find_reference_finding(analysis.findings, arm, results.references.get(arm.id))
    finished = len(scores.keys) if scores else 0
    return {
        "features": format_features(arm),
        "multimodal": "yes" if len(arm.features) > 1 else "no",
        "technique": format_head_name(arm) or "single",
        "fraction": arm.fraction,
        "auroc": number_or_none(level.auroc.mean) if level else None,
        "auroc_low": number_or_none(level.auroc.low) if level else None,
        "auroc_high": number_or_none(level.auroc.high) if level else None,
        "ap": number_or_none(level.average_precision.mean) if level else None,
        **build_difference_row("difference", finding.macro if finding else None),
        "reference": _format_reference(context, arm, finding),
        "verdict": _format_verdict(finding),
        "models": scores.models if scores else None,
        "parameters": number_or_none(scores.parameters) if scores else None,
        "seconds": number_or_none(sum_fit_seconds(context, arm)) if scores else None,
        "trials": f"{finished}/{results.plan.trials_per_arm}",
        "cell": str(arm),
        "cell_id": arm.id,
    }


def find_reference_finding(
    findings: Sequence[ContrastResult], arm: Arm, reference: str | None
) -> ContrastResult | None:
    """Return the finding of an arm against its reference, or else its first finding."""
    of_arm = [finding for finding in findings if finding.contrast.arm.id == arm.id]
    to_reference = [finding for finding in of_arm if finding.contrast.reference.id == reference]
    return next(iter([*to_reference, *of_arm]), None)


def sum_fit_seconds(context: ReportContext, arm: Arm) -> float:
    """Return the mean seconds of a fit; for an ensemble, those of its members together."""
    arms = context.analysis.arms
    if arm.technique != MEAN:
        return arms[arm.id].seconds
    members = [arm.to_single(feature).id for feature in arm.features]
    return sum(arms[key].seconds for key in members if key in arms)


def _format_reference(
    context: ReportContext, arm: Arm, finding: ContrastResult | None
) -> str | None:
    if finding is None:
        return None
    contrast = finding.contrast
    same = contrast.reference.fraction == arm.fraction
    return context.names.of(contrast.reference, fraction=not same)


def _format_verdict(finding: ContrastResult | None) -> str | None:
    return None if finding is None else f"{finding.verdict}{'' if finding.equal_size else ' *'}"
