"""Section with the verdicts: what can and cannot be concluded from the study."""

from __future__ import annotations

import math

from study.analysis.paired import ROPE
from study.analysis.study_analysis import ContrastResult
from study.analysis.verdicts import VerdictKind
from study.reporting.context import ReportContext
from study.reporting.document import Block, Bullets, DocumentSection, Prose
from study.reporting.formatting import format_count, format_fixed, format_interval, format_p_value

VERBS = {
    VerdictKind.WINS: "beats",
    VerdictKind.SUGGESTIVE: "may beat",
    VerdictKind.EQUIVALENT: "is equivalent to",
    VerdictKind.NO_EVIDENCE: "does not differ significantly from",
    VerdictKind.NOT_RESOLVABLE: "cannot be distinguished from",
}


def describe_best_arm(context: ReportContext) -> str:
    """Return a sentence on the arm with the highest AUROC and the arms inside its interval."""
    arms, levels = context.arms, context.analysis.levels
    best = max(arms, key=context.level)
    level = levels[best.id].auroc
    text = (
        f"Highest level of {format_count(len(arms), 'arm')}: {context.names.of(best)}, macro "
        f"AUROC {format_interval(level.mean, level.low, level.high)}"
    )
    if len(arms) == 1:
        return f"{text}."
    if math.isnan(level.low):
        return f"{text}; one fold gives no interval."
    inside = sum(context.level(arm) >= level.low for arm in arms) - 1
    rest = format_count(inside, "other arm") + (" lies" if inside == 1 else " lie")
    return (
        f"{text}; {rest} inside its interval. Being the highest of many arms is no evidence by "
        "itself: only the declared contrasts are tested."
    )


def describe_finding(context: ReportContext, finding: ContrastResult) -> str:
    """Return a sentence on the result of one declared contrast."""
    macro, verdict = finding.macro, finding.verdict
    names = context.names
    sides = [names.of(finding.contrast.arm), names.of(finding.contrast.reference)]
    if verdict.better == "reference":
        sides.reverse()
    change = format_interval(macro.estimate, macro.low, macro.high, "+.4f")
    text = (
        f"{finding.contrast.family.capitalize()}: “{sides[0]}” {VERBS[verdict.kind]} "
        f"“{sides[1]}”: difference {change} (arm minus reference, 95 % CI), "
        f"{_format_corrected(finding)}smallest detectable {format_fixed(macro.smallest)}. "
        f"Verdict: {verdict}."
    )
    if not finding.equal_size:
        text += " The two sides average different numbers of models: not a fair comparison."
    return text


def _format_corrected(finding: ContrastResult) -> str:
    corrected = finding.macro.corrected
    if math.isnan(corrected.p):
        return ""
    better = f"P(better by > {ROPE:g}) = {corrected.better:.2f}"
    return f"corrected t {format_p_value(corrected.p)}, {better}, "


def describe_missing_trials(context: ReportContext) -> list[str]:
    """Return a sentence on missing trials, if there are any."""
    results = context.analysis.results
    if not results.missing:
        return []
    failed = f", {format_count(len(results.failures), 'of them failed', 'of them failed')}"
    return [
        f"Not complete: {format_count(results.missing, 'trial')} of "
        f"{len(results.plan.arms) * results.plan.trials_per_arm:,} have no result"
        f"{failed if results.failures else ''}. Numbers of unfinished arms will change."
    ]


def section(context: ReportContext) -> DocumentSection:
    """State the best arm, the results of the headline contrasts, and the missing trials."""
    sentences = [describe_best_arm(context)]
    sentences += [describe_finding(context, finding) for finding in context.headlines]
    sentences += describe_missing_trials(context)
    blocks: list[Block] = [Bullets(tuple(sentences))]
    if not context.headlines:
        blocks.append(Prose("No declared contrast has finished trials on both sides yet."))
    return DocumentSection("verdict", "Verdict", tuple(blocks))
