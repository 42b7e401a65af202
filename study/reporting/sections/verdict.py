"""Section with the verdicts: what the study can and cannot conclude."""

from __future__ import annotations

import math

from study.analysis.paired import ROPE
from study.analysis.study_analysis import Finding
from study.analysis.verdicts import Word
from study.reporting.context import Material
from study.reporting.document import Block, Bullets, Prose, Section
from study.reporting.formatting import counted, fixed, p_value, with_interval

SAID = {
    Word.WINS: "beats",
    Word.SUGGESTIVE: "may beat",
    Word.EQUIVALENT: "is equivalent to",
    Word.NO_EVIDENCE: "is not told apart from",
    Word.NOT_RESOLVABLE: "cannot be told apart from",
}


def best_sentence(material: Material) -> str:
    """Name the arm with the highest level, and how many lie inside its interval."""
    cells, levels = material.cells, material.evidence.levels
    best = max(cells, key=material.level)
    found = levels[best.id].auroc
    text = (
        f"Highest level of {counted(len(cells), 'arm')}: {material.names.of(best)}, macro AUROC "
        f"{with_interval(found.mean, found.low, found.high)}"
    )
    if len(cells) == 1:
        return f"{text}."
    if math.isnan(found.low):
        return f"{text}; one fold gives no interval."
    inside = sum(material.level(cell) >= found.low for cell in cells) - 1
    rest = counted(inside, "other arm") + (" lies" if inside == 1 else " lie")
    return (
        f"{text}; {rest} inside its interval, and the highest of many is by itself no claim: the "
        "claims are the contrasts that were declared."
    )


def finding_sentence(material: Material, finding: Finding) -> str:
    """Say what one declared contrast shows."""
    macro, verdict = finding.macro, finding.verdict
    names = material.names
    sides = [names.of(finding.contrast.arm), names.of(finding.contrast.reference)]
    if verdict.better == "reference":
        sides.reverse()
    change = with_interval(macro.estimate, macro.low, macro.high, "+.4f")
    text = (
        f"{finding.contrast.family.capitalize()}: “{sides[0]}” {SAID[verdict.word]} “{sides[1]}”: "
        f"difference {change} (arm minus reference, 95 % CI), {_corrected(finding)}"
        f"smallest detectable {fixed(macro.smallest)}. Verdict: {verdict}."
    )
    if not finding.equal_size:
        text += " The two average different numbers of models: no fair rivals."
    return text


def _corrected(finding: Finding) -> str:
    found = finding.macro.corrected
    if math.isnan(found.p):
        return ""
    return f"corrected t {p_value(found.p)}, P(better by > {ROPE:g}) = {found.better:.2f}, "


def missing_sentence(material: Material) -> list[str]:
    """Say how many trials are missing, if any are."""
    record = material.evidence.record
    if not record.missing:
        return []
    failed = f", {counted(len(record.failures), 'of them failed', 'of them failed')}"
    return [
        f"Not complete: {counted(record.missing, 'trial')} of "
        f"{len(record.plan.cells) * record.plan.per_cell:,} have no result"
        f"{failed if record.failures else ''}. Numbers of unfinished arms will move."
    ]


def section(material: Material) -> Section:
    """Say what is best, what the headline contrasts show, and what is missing."""
    found = [best_sentence(material)]
    found += [finding_sentence(material, finding) for finding in material.headlines]
    found += missing_sentence(material)
    blocks: list[Block] = [Bullets(tuple(found))]
    if not material.headlines:
        blocks.append(Prose("No declared contrast has finished trials on both sides yet."))
    return Section("verdict", "Verdict", tuple(blocks))
