"""Section with all pairs of arms at the largest fraction, and their folds."""

from __future__ import annotations

import itertools

import numpy as np

from study.analysis.arm_scores import ArmScores
from study.analysis.paired import PairedDifference, estimate_difference
from study.analysis.verdicts import SIGNIFICANCE, adjust_holm
from study.metrics import macro_mean
from study.planning.contrasts import Contrast
from study.reporting.context import ReportContext
from study.reporting.document import Block, DocumentSection, Prose
from study.reporting.figures.folds import RepeatFold, draw_folds
from study.reporting.figures.pairwise import draw_pairwise

MAX_ARMS = 26
"""Maximum number of arms of a readable map."""


def section(context: ReportContext) -> DocumentSection | None:
    """Draw the heat map of pairwise differences and the paired fold plot."""
    arms = context.full[:MAX_ARMS]
    if len(arms) < 2:
        return None
    names = [context.names.of(arm, fraction=False) for arm in arms]
    all_scores = [context.analysis.arms[arm.id] for arm in arms]
    scope = f"Arms at fraction {context.fullest:g}"
    if len(context.full) > MAX_ARMS:
        scope += f", the first {MAX_ARMS} of {len(context.full)} in the order of the file"
    blocks: list[Block] = []
    if all(len(average_by_fold(scores)) > 1 for scores in all_scores):
        blocks.append(draw_folds(names, [average_by_fold(scores) for scores in all_scores], scope))
    else:
        blocks.append(Prose("There is no paired fold plot: an arm has finished only one fold."))
    return DocumentSection(
        "pairs", "Arms side by side", (_draw_map(context, names, scope), *blocks)
    )


def _draw_map(context: ReportContext, names: list[str], scope: str) -> Block:
    arms = context.full[:MAX_ARMS]
    differences: dict[tuple[int, int], PairedDifference] = {}
    for i, j in itertools.combinations(range(len(arms)), 2):
        contrast = Contrast("all pairs", arms[i], arms[j])
        if context.analysis.shared(contrast):
            sides = context.analysis.pair(contrast)
            differences[i, j] = estimate_difference(
                *sides, context.analysis.groups, context.analysis.weights
            )
    values = np.full((len(arms), len(arms)), np.nan)
    significant = np.zeros(values.shape, dtype=np.bool_)
    adjusted = adjust_holm([difference.p for difference in differences.values()])
    for ((i, j), difference), p in zip(differences.items(), adjusted, strict=True):
        values[i, j], values[j, i] = difference.estimate, -difference.estimate
        significant[i, j] = significant[j, i] = p < SIGNIFICANCE
    return draw_pairwise(names, values, significant, scope)


def average_by_fold(arm: ArmScores) -> dict[RepeatFold, float]:
    """Return the macro AUROC of each repeat and fold, mean over the seeds."""
    by_fold: dict[RepeatFold, list[float]] = {}
    for (_, repeat, fold), values in zip(arm.keys, arm.auroc, strict=True):
        by_fold.setdefault((repeat, fold), []).append(macro_mean(values).value)
    return {key: float(np.mean(values)) for key, values in sorted(by_fold.items())}
