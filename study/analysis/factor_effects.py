"""What the factors of a grid are worth: shares of variance, marginal means, interactions.

A full grid is balanced, so the ordinary sums of squares are the exact functional analysis of
variance; no forest is needed. Fusion is undefined for one modality: where a study has arms of
several modalities, the effects are about those (`shapley` is about the single ones too).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.anova import VarianceShare, decompose_variance
from study.analysis.arm_scores import ArmScores
from study.analysis.bootstrap import common_arms
from study.analysis.factor_grid import FactorGrid, build_factor_grid, combinations
from study.analysis.influence import Floats
from study.analysis.mixed_model import (
    Interaction,
    MainEffects,
    MarginalMean,
    TrialScores,
    estimate_interactions,
    estimate_marginal_means,
    fit_main_effects,
)
from study.analysis.study_analysis import StudyAnalysis
from study.planning.trials import Arm

__all__ = [
    "FactorEffects",
    "Interaction",
    "MarginalMean",
    "VarianceShare",
    "estimate_factor_effects",
]

MOST = 0.5
"""Share of the arms that a full part must hold to stand for the grid."""


@dataclass(frozen=True)
class FactorEffects:
    """Factor effects of a study.

    Attributes
    ----------
    shares : tuple of VarianceShare
        Pooled first, then within each fraction.
    marginals : tuple of MarginalMean
    interactions : tuple of Interaction
    complete : bool
        Whether every combination of the levels has all its trials.
    note : str
        Which arms this is about, what was left out, and the method.
    """

    shares: tuple[VarianceShare, ...]
    marginals: tuple[MarginalMean, ...]
    interactions: tuple[Interaction, ...]
    complete: bool
    note: str


def estimate_factor_effects(evidence: StudyAnalysis) -> FactorEffects:
    """Return the effects of the factors of a study on the macro AUROC.

    A full grid gives exact shares. Of one with gaps the largest full part does, if it holds at
    least half of the arms and two levels of every factor; otherwise a mixed model of the main
    effects is fitted to all trials. `FactorEffects.note` says which.
    """
    planned, arms = _arms(evidence)
    if len(arms) < 2:
        return FactorEffects((), (), (), True, "fewer than two arms: nothing to compare")
    whole = build_factor_grid(arms)
    part = whole.largest_full()
    all_scores = common_arms(evidence, [part.arms[levels] for levels in combinations(part)])
    trials = evidence.record.plan.per_arm
    complete = (
        whole.full
        and len(arms) == planned
        and all(len(evidence.arms[arm.id].keys) == trials for arm in arms)
    )
    about = f"{_about(arms)}, {len(arms)} of {planned} arms"
    if not all_scores or not _stands(part, whole):
        return _modelled(evidence, whole, about)
    left = "; ".join([about, *_left_out(whole, part), _shared(len(all_scores[0].keys), trials)])
    return _exact(evidence, part, all_scores, complete, left)


def _arms(evidence: StudyAnalysis) -> tuple[int, list[Arm]]:
    """Planned number, and those with a trial, of the arms of several modalities, else of all."""
    planned = evidence.record.plan.arms
    several = [arm for arm in planned if len(arm.features) > 1] or list(planned)
    return len(several), [arm for arm in several if arm.id in evidence.arms]


def _stands(part: FactorGrid, whole: FactorGrid) -> bool:
    kept = all(len(levels) > 1 for levels in part.levels)
    return kept and len(part.arms) >= MOST * len(whole.arms)


def _exact(
    evidence: StudyAnalysis, grid: FactorGrid, arms: Sequence[ArmScores], complete: bool, note: str
) -> FactorEffects:
    keys, sizes = arms[0].keys, [len(levels) for levels in grid.levels]
    flat = np.stack([arm.values(evidence.weights) for arm in arms], axis=1)
    values: Floats = flat.reshape(len(keys), *sizes)
    means = dict(zip(combinations(grid), flat.mean(axis=0).tolist(), strict=True))
    return FactorEffects(
        shares=tuple(_shares(values, grid)),
        marginals=tuple(estimate_marginal_means(values, grid, keys)),
        interactions=tuple(estimate_interactions(grid, means)),
        complete=complete,
        note=f"exact analysis of variance, split absorbed; {note}",
    )


def _shares(values: Floats, grid: FactorGrid) -> Iterator[VarianceShare]:
    """Yield the pooled shares, then those within each fraction."""
    yield from decompose_variance(values, grid.factors, None)
    if "fraction" in grid.factors:
        axis = grid.factors.index("fraction")
        others = [factor for factor in grid.factors if factor != "fraction"]
        for i, level in enumerate(grid.levels[axis]):
            yield from decompose_variance(np.take(values, i, axis=axis + 1), others, float(level))


def _modelled(evidence: StudyAnalysis, grid: FactorGrid, about: str) -> FactorEffects:
    """Effects from a mixed model of all trials."""
    trials = _trials(evidence, grid)
    pooled = fit_main_effects(trials)
    means = {key: evidence.arms[arm.id].level for key, arm in grid.arms.items()}
    said = "main effects only" if pooled else "no fit: factors that cannot be told apart"
    return FactorEffects(
        shares=tuple(_modelled_shares(trials, pooled)),
        marginals=tuple(pooled.marginals()) if pooled else (),
        interactions=tuple(estimate_interactions(grid, means)),
        complete=False,
        note=f"the grid is incomplete: mixed model, auroc ~ factors + (1 | split), {said}; {about}",
    )


def _modelled_shares(trials: TrialScores, pooled: MainEffects | None) -> Iterator[VarianceShare]:
    yield from pooled.shares(None) if pooled else ()
    factors = trials.grid.factors
    if "fraction" in factors and len(factors) > 1:
        axis = factors.index("fraction")
        for level in trials.grid.levels[axis]:
            within = fit_main_effects(trials.of(axis, level))
            yield from within.shares(float(level)) if within else ()


def _trials(evidence: StudyAnalysis, grid: FactorGrid) -> TrialScores:
    all_scores = [(levels, evidence.arms[arm.id]) for levels, arm in grid.arms.items()]
    return TrialScores(
        grid,
        tuple(levels for levels, scores in all_scores for _ in scores.keys),
        tuple(key for _, scores in all_scores for key in scores.keys),
        np.concatenate([scores.values(evidence.weights) for _, scores in all_scores]),
    )


def _about(arms: Sequence[Arm]) -> str:
    wide = sum(len(arm.features) > 1 for arm in arms)
    return "arms of several modalities" if wide == len(arms) else "arms of one modality"


def _left_out(whole: FactorGrid, part: FactorGrid) -> list[str]:
    """Say which levels a full part lacks."""
    if whole.full:
        return []
    levels = zip(whole.factors, whole.levels, part.levels, strict=True)
    gone = [f"{name} {x}" for name, old, new in levels for x in old if x not in new]
    return [
        f"the grid is incomplete: its largest full part, {len(part.arms)} arms, "
        f"without {', '.join(gone)}"
    ]


def _shared(keys: int, trials: int) -> str:
    return f"{keys} trials an arm" if keys == trials else f"the {keys} of {trials} trials shared"
