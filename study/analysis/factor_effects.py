"""Effects of the factors of a grid: shares of variance, marginal means, interactions.

A full grid is balanced, so the ordinary sums of squares are the exact functional analysis of
variance, and no surrogate model (such as a random forest) is needed. Fusion is undefined for one
modality, so the effects cover the arms of several modalities if the study has any; `shapley` also
uses the single modalities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.anova import VarianceShare, decompose_variance
from study.analysis.arm_scores import ArmScores
from study.analysis.bootstrap import select_common_trials
from study.analysis.factor_grid import FactorGrid, build_factor_grid, list_combinations
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

MIN_SHARE = 0.5
"""Minimum share of the arms in the largest full part for it to represent the grid."""


@dataclass(frozen=True)
class FactorEffects:
    """Effects of the factors of a study on the macro AUROC.

    Attributes
    ----------
    shares : tuple of VarianceShare
        Pooled over the fractions first, then within each fraction.
    marginals : tuple of MarginalMean
    interactions : tuple of Interaction
    complete : bool
        Whether every combination of levels has all its trials.
    note : str
        Text on the method, the arms covered and the arms left out.
    """

    shares: tuple[VarianceShare, ...]
    marginals: tuple[MarginalMean, ...]
    interactions: tuple[Interaction, ...]
    complete: bool
    note: str


def estimate_factor_effects(analysis: StudyAnalysis) -> FactorEffects:
    """Estimate the effects of the factors of a study on the macro AUROC.

    A full grid is analysed exactly. A grid with gaps is represented by its largest full part if
    that has at least half of the arms and two levels of every factor. Otherwise a mixed model of
    the main effects is fitted to all trials. `FactorEffects.note` names the method.
    """
    planned, arms = _select_arms(analysis)
    if len(arms) < 2:
        return FactorEffects((), (), (), True, "fewer than two arms: nothing to compare")
    whole = build_factor_grid(arms)
    part = whole.find_largest_full()
    all_scores = select_common_trials(
        analysis, [part.arms[levels] for levels in list_combinations(part)]
    )
    trials = analysis.results.plan.trials_per_arm
    complete = (
        whole.full
        and len(arms) == planned
        and all(len(analysis.arms[arm.id].keys) == trials for arm in arms)
    )
    about = f"{_describe_arms(arms)}, {len(arms)} of {planned} arms"
    if not all_scores or not _represents(part, whole):
        return _estimate_mixed(analysis, whole, about)
    note = "; ".join(
        [
            about,
            *_describe_missing_levels(whole, part),
            _describe_trials(len(all_scores[0].keys), trials),
        ]
    )
    return _estimate_exact(analysis, part, all_scores, complete, note)


def _select_arms(analysis: StudyAnalysis) -> tuple[int, list[Arm]]:
    """Return the planned number and the finished ones of the arms that the effects cover.

    They are the arms of several modalities, or all arms if there are none.
    """
    planned = analysis.results.plan.arms
    several = [arm for arm in planned if len(arm.features) > 1] or list(planned)
    return len(several), [arm for arm in several if arm.id in analysis.arms]


def _represents(part: FactorGrid, whole: FactorGrid) -> bool:
    has_all_factors = all(len(levels) > 1 for levels in part.levels)
    return has_all_factors and len(part.arms) >= MIN_SHARE * len(whole.arms)


def _estimate_exact(
    analysis: StudyAnalysis, grid: FactorGrid, arms: Sequence[ArmScores], complete: bool, note: str
) -> FactorEffects:
    keys, sizes = arms[0].keys, [len(levels) for levels in grid.levels]
    flat = np.stack([arm.values(analysis.weights) for arm in arms], axis=1)
    values: Floats = flat.reshape(len(keys), *sizes)
    means = dict(zip(list_combinations(grid), flat.mean(axis=0).tolist(), strict=True))
    return FactorEffects(
        shares=tuple(_compute_exact_shares(values, grid)),
        marginals=tuple(estimate_marginal_means(values, grid, keys)),
        interactions=tuple(estimate_interactions(grid, means)),
        complete=complete,
        note=f"exact analysis of variance, split absorbed; {note}",
    )


def _compute_exact_shares(values: Floats, grid: FactorGrid) -> Iterator[VarianceShare]:
    """Yield the pooled shares, then those within each fraction."""
    yield from decompose_variance(values, grid.factors, None)
    if "fraction" in grid.factors:
        axis = grid.factors.index("fraction")
        others = [factor for factor in grid.factors if factor != "fraction"]
        for i, level in enumerate(grid.levels[axis]):
            yield from decompose_variance(np.take(values, i, axis=axis + 1), others, float(level))


def _estimate_mixed(analysis: StudyAnalysis, grid: FactorGrid, about: str) -> FactorEffects:
    """Estimate the effects with a mixed model of all trials."""
    trials = _collect_trials(analysis, grid)
    pooled = fit_main_effects(trials)
    means = {key: analysis.arms[arm.id].level for key, arm in grid.arms.items()}
    outcome = "main effects only" if pooled else "no fit: factors that cannot be told apart"
    return FactorEffects(
        shares=tuple(_compute_mixed_shares(trials, pooled)),
        marginals=tuple(pooled.marginals()) if pooled else (),
        interactions=tuple(estimate_interactions(grid, means)),
        complete=False,
        note=(
            "the grid is incomplete: mixed model, auroc ~ factors + (1 | split), "
            f"{outcome}; {about}"
        ),
    )


def _compute_mixed_shares(
    trials: TrialScores, pooled: MainEffects | None
) -> Iterator[VarianceShare]:
    yield from pooled.shares(None) if pooled else ()
    factors = trials.grid.factors
    if "fraction" in factors and len(factors) > 1:
        axis = factors.index("fraction")
        for level in trials.grid.levels[axis]:
            within = fit_main_effects(trials.with_level(axis, level))
            yield from within.shares(float(level)) if within else ()


def _collect_trials(analysis: StudyAnalysis, grid: FactorGrid) -> TrialScores:
    all_scores = [(levels, analysis.arms[arm.id]) for levels, arm in grid.arms.items()]
    return TrialScores(
        grid,
        tuple(levels for levels, scores in all_scores for _ in scores.keys),
        tuple(key for _, scores in all_scores for key in scores.keys),
        np.concatenate([scores.values(analysis.weights) for _, scores in all_scores]),
    )


def _describe_arms(arms: Sequence[Arm]) -> str:
    multimodal = sum(len(arm.features) > 1 for arm in arms)
    return "arms of several modalities" if multimodal == len(arms) else "arms of one modality"


def _describe_missing_levels(whole: FactorGrid, part: FactorGrid) -> list[str]:
    """Describe which levels the full part lacks; empty for a full grid."""
    if whole.full:
        return []
    levels = zip(whole.factors, whole.levels, part.levels, strict=True)
    missing = [f"{name} {x}" for name, old, new in levels for x in old if x not in new]
    return [
        f"the grid is incomplete: its largest full part, {len(part.arms)} arms, "
        f"without {', '.join(missing)}"
    ]


def _describe_trials(keys: int, trials: int) -> str:
    return f"{keys} trials an arm" if keys == trials else f"the {keys} of {trials} trials shared"
