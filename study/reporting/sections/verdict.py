"""Section with the verdicts: what the study can and cannot conclude."""

from __future__ import annotations

import math

from study.analysis.paired import ROPE
from study.analysis.study_analysis import ContrastResult
from study.analysis.verdicts import VerdictKind
from study.reporting.context import ReportContext
from study.reporting.document import Block, Bullets, DocumentSection, Prose
from study.reporting.formatting import format_count, format_fixed, format_interval, format_p_value

SAID = {
    VerdictKind.WINS: "beats",
    VerdictKind.SUGGESTIVE: "may beat",
    VerdictKind.EQUIVALENT: "is equivalent to",
    VerdictKind.NO_EVIDENCE: "is not told apart from",
    VerdictKind.NOT_RESOLVABLE: "cannot be told apart from",
}


def best_sentence(material: ReportContext) -> str:
    """Name the arm with the highest level, and how many lie inside its interval."""
    arms, levels = material.arms, material.evidence.levels
    best = max(arms, key=material.level)
    found = levels[best.id].auroc
    text = (
        f"Highest level of {format_count(len(arms), 'arm')}: {material.names.of(best)}, macro "
        "AUROC "
        f"{format_interval(found.mean, found.low, found.high)}"
    )
    if len(arms) == 1:
        return f"{text}."
    if math.isnan(found.low):
        return f"{text}; one fold gives no interval."
    inside = sum(material.level(arm) >= found.low for arm in arms) - 1
    rest = format_count(inside, "other arm") + (" lies" if inside == 1 else " lie")
    return (
        f"{text}; {rest} inside its interval, and the highest of many is by itself no claim: the "
        "claims are the contrasts that were declared."
    )


def finding_sentence(material: ReportContext, finding: ContrastResult) -> str:
    """Say what one declared contrast shows."""
    macro, verdict = finding.macro, finding.verdict
    names = material.names
    sides = [names.of(finding.contrast.arm), names.of(finding.contrast.reference)]
    if verdict.better == "reference":
        sides.reverse()
    change = format_interval(macro.estimate, macro.low, macro.high, "+.4f")
    text = (
        f"{finding.contrast.family.capitalize()}: “{sides[0]}” {SAID[verdict.kind]} “{sides[1]}”: "
        f"difference {change} (arm minus reference, 95 % CI), {_corrected(finding)}"
        f"smallest detectable {format_fixed(macro.smallest)}. Verdict: {verdict}."
    )
    if not finding.equal_size:
        text += " The two average different numbers of models: no fair rivals."
    return text


def _corrected(finding: ContrastResult) -> str:
    found = finding.macro.corrected
    if math.isnan(found.p):
        return ""
    return f"corrected t {format_p_value(found.p)}, P(better by > {ROPE:g}) = {found.better:.2f}, "


def missing_sentence(material: ReportContext) -> list[str]:
    """Say how many trials are missing, if any are."""
    record = material.evidence.record
    if not record.missing:
        return []
    failed = f", {format_count(len(record.failures), 'of them failed', 'of them failed')}"
    return [
        f"Not complete: {format_count(record.missing, 'trial')} of "
        f"{len(record.plan.arms) * record.plan.per_arm:,} have no result"
        f"{failed if record.failures else ''}. Numbers of unfinished arms will move."
    ]


def section(material: ReportContext) -> DocumentSection:
    """Say what is best, what the headline contrasts show, and what is missing."""
    found = [best_sentence(material)]
    found += [finding_sentence(material, finding) for finding in material.headlines]
    found += missing_sentence(material)
    blocks: list[Block] = [Bullets(tuple(found))]
    if not material.headlines:
        blocks.append(Prose("No declared contrast has finished trials on both sides yet."))
    return DocumentSection("verdict", "Verdict", tuple(blocks))
