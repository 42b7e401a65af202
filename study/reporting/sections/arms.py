"""The main table, in the layout of the published one."""

from __future__ import annotations

from collections.abc import Sequence

from study.analysis.study_analysis import ContrastResult
from study.planning.trials import Arm
from study.reporting.context import MEAN, ReportContext, format_features, format_head_name
from study.reporting.document import Bullets, DocumentSection, DocumentTable, Prose
from study.reporting.formatting import Column, Row, frame_of
from study.reporting.tables import UNEQUAL, difference_row, find_unsettled, number_or_none

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

MOST_NOTES = 5
"""Arms that did not converge that are named."""


def section(material: ReportContext) -> DocumentSection:
    """Show every arm in the order of the file, the largest fraction first."""
    arms = sorted(material.evidence.record.plan.arms, key=lambda arm: -arm.fraction)
    rows = [row_of(material, arm) for arm in arms]
    found = find_unsettled(material.evidence.record.summaries)
    more = [f"... and {len(found) - MOST_NOTES} more arms."] if len(found) > MOST_NOTES else []
    notes = [*found[:MOST_NOTES], *more]
    if any("*" in (row["verdict"] or "") for row in rows):
        notes.insert(0, UNEQUAL)
    blocks = (Prose(NOTE), DocumentTable("arms", "Every arm.", COLUMNS, frame_of(rows)))
    return DocumentSection(
        "arms", "Main table", (*blocks, *([Bullets(tuple(notes))] if notes else []))
    )


NOTE = (
    "In the order of the study file, not of the results; a heading sorts. AUROC: interval of the "
    "corrected t over the folds. Difference: paired on the same folds and seeds, interval of the "
    "influence curve. Models: how many trained apart are averaged; an ensemble is compared with "
    "an ensemble of its size. The seconds of an average are those of its members."
)


def row_of(material: ReportContext, arm: Arm) -> Row:
    """Return the row of one arm; undefined numbers are None."""
    evidence, record = material.evidence, material.evidence.record
    scores, level = evidence.arms.get(arm.id), evidence.levels.get(arm.id)
    finding = reference_finding(evidence.findings, arm, record.references.get(arm.id))
    done = len(scores.keys) if scores else 0
    return {
        "features": format_features(arm),
        "multimodal": "yes" if len(arm.features) > 1 else "no",
        "technique": format_head_name(arm) or "single",
        "fraction": arm.fraction,
        "auroc": number_or_none(level.auroc.mean) if level else None,
        "auroc_low": number_or_none(level.auroc.low) if level else None,
        "auroc_high": number_or_none(level.auroc.high) if level else None,
        "ap": number_or_none(level.average_precision.mean) if level else None,
        **difference_row("difference", finding.macro if finding else None),
        "reference": _reference(material, arm, finding),
        "verdict": _verdict(finding),
        "models": scores.models if scores else None,
        "parameters": number_or_none(scores.parameters) if scores else None,
        "seconds": number_or_none(seconds_of(material, arm)) if scores else None,
        "trials": f"{done}/{record.plan.per_arm}",
        "cell": str(arm),
        "cell_id": arm.id,
    }


def reference_finding(
    findings: Sequence[ContrastResult], arm: Arm, reference: str | None
) -> ContrastResult | None:
    """Return the finding of an arm against its reference, else its first one."""
    own = [finding for finding in findings if finding.contrast.arm.id == arm.id]
    wanted = [finding for finding in own if finding.contrast.reference.id == reference]
    return next(iter([*wanted, *own]), None)


def seconds_of(material: ReportContext, arm: Arm) -> float:
    """Seconds of a fit; of an average, those of its members together."""
    arms = material.evidence.arms
    if arm.technique != MEAN:
        return arms[arm.id].seconds
    members = [arm.single(feature).id for feature in arm.features]
    return sum(arms[key].seconds for key in members if key in arms)


def _reference(material: ReportContext, arm: Arm, finding: ContrastResult | None) -> str | None:
    if finding is None:
        return None
    contrast = finding.contrast
    same = contrast.reference.fraction == arm.fraction
    return material.names.of(contrast.reference, fraction=not same)


def _verdict(finding: ContrastResult | None) -> str | None:
    return None if finding is None else f"{finding.verdict}{'' if finding.equal_size else ' *'}"
