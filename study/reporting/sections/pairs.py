"""All pairs of arms at the largest fraction, and every fold of them."""

from __future__ import annotations

import itertools

import numpy as np

from study.analysis.arm_scores import ArmScores
from study.analysis.paired import PairedDifference, estimate_difference
from study.analysis.verdicts import LEVEL, adjust_holm
from study.metrics import macro_mean
from study.planning.contrasts import Contrast
from study.reporting.context import ReportContext
from study.reporting.document import Block, DocumentSection, Prose
from study.reporting.figures.folds import Place, draw_folds
from study.reporting.figures.pairwise import draw_pairwise

MOST = 26
"""Arms of a map that can be read."""


def section(material: ReportContext) -> DocumentSection | None:
    """Draw the heat map of differences and the paired fold plot."""
    arms = material.full[:MOST]
    if len(arms) < 2:
        return None
    names = [material.names.of(arm, fraction=False) for arm in arms]
    all_scores = [material.evidence.arms[arm.id] for arm in arms]
    scope = f"Arms at fraction {material.fullest:g}"
    if len(material.full) > MOST:
        scope += f", the first {MOST} of {len(material.full)} in the order of the file"
    blocks: list[Block] = []
    if all(len(places_of(scores)) > 1 for scores in all_scores):
        blocks.append(draw_folds(names, [places_of(scores) for scores in all_scores], scope))
    else:
        blocks.append(Prose("There is no paired fold plot: an arm has finished only one fold."))
    return DocumentSection("pairs", "Arms side by side", (_map(material, names, scope), *blocks))


def _map(material: ReportContext, names: list[str], scope: str) -> Block:
    arms = material.full[:MOST]
    found: dict[tuple[int, int], PairedDifference] = {}
    for i, j in itertools.combinations(range(len(arms)), 2):
        contrast = Contrast("all pairs", arms[i], arms[j])
        if material.evidence.shared(contrast):
            sides = material.evidence.pair(contrast)
            found[i, j] = estimate_difference(
                *sides, material.evidence.groups, material.evidence.weights
            )
    values = np.full((len(arms), len(arms)), np.nan)
    sure = np.zeros(values.shape, dtype=np.bool_)
    adjusted = adjust_holm([each.p for each in found.values()])
    for ((i, j), each), p in zip(found.items(), adjusted, strict=True):
        values[i, j], values[j, i] = each.estimate, -each.estimate
        sure[i, j] = sure[j, i] = p < LEVEL
    return draw_pairwise(names, values, sure, scope)


def places_of(arm: ArmScores) -> dict[Place, float]:
    """Macro AUROC of each repeat and fold, mean over the seeds."""
    by_place: dict[Place, list[float]] = {}
    for (_, repeat, fold), values in zip(arm.keys, arm.auroc, strict=True):
        by_place.setdefault((repeat, fold), []).append(macro_mean(values).value)
    return {place: float(np.mean(values)) for place, values in sorted(by_place.items())}
