"""Joint draws of the scores of several arms under other test molecules and other seeds.

They give intervals for statistics without a closed-form influence curve (power laws,
data-efficiency fractions). The arms share their test molecules, so they are drawn together.

Shapes: n molecules, k arms, r trials, d draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from study.analysis.arm_scores import ArmScores, build_arm_scores
from study.analysis.influence import Floats
from study.analysis.study_analysis import StudyAnalysis
from study.planning.trials import Arm, Repeat


def finished_arms(analysis: StudyAnalysis) -> list[Arm]:
    """Return the arms of the plan that have at least one finished trial."""
    return [arm for arm in analysis.results.plan.arms if arm.id in analysis.arms]


def select_common_trials(analysis: StudyAnalysis, arms: Sequence[Arm]) -> list[ArmScores]:
    """Return the scores of arms on the trials that all of them have finished; [] without any."""
    all_scores = [analysis.arms[arm.id] for arm in arms if arm.id in analysis.arms]
    keys = (
        set(all_scores[0].keys).intersection(*(scores.keys for scores in all_scores))
        if all_scores
        else set()
    )
    if len(all_scores) < len(arms) or not keys:
        return []
    molecules = len(analysis.results.data.dataset)
    shared = tuple(sorted(keys))
    return [
        scores
        if scores.keys == shared
        else build_arm_scores(analysis.results.results_of(arm), molecules, shared, analysis.groups)
        for arm, scores in zip(arms, all_scores, strict=True)
    ]


def draw_scores(
    arms: Sequence[ArmScores], groups: NDArray[np.int64], weights: Floats, draws: int, seed: int = 0
) -> Floats:
    """Draw the mean scores of arms under other test molecules and other seeds.

    The molecules contribute a normal draw with `estimate_molecule_covariance`. With many groups
    this is equivalent to a bootstrap of whole groups, but no AUROC is computed again. The seeds
    contribute a draw with `estimate_seed_covariance` from a t distribution, because its degrees of
    freedom are few.

    Parameters
    ----------
    arms : sequence of ArmScores, (k,)
        Arms with the same keys.
    groups : ndarray of int64, (n,)
    weights : ndarray of float64, (l,)
        Label weights of the score.
    draws : int
    seed : int
        Seed of the draws.

    Returns
    -------
    ndarray of float64, (d, k)
    """
    rng, center = np.random.default_rng(seed), np.zeros(len(arms))
    means = np.array([arm.values(weights).mean() for arm in arms])
    molecules = estimate_molecule_covariance(arms, groups, weights)
    seeds, freedom = estimate_seed_covariance(arms, molecules, weights)
    deviations = rng.multivariate_normal(center, molecules, size=draws, method="eigh")
    if freedom:
        seed_draws = rng.multivariate_normal(center, seeds, size=draws, method="eigh")
        deviations += seed_draws / np.sqrt(rng.chisquare(freedom, size=(draws, 1)) / freedom)
    return np.asarray(means + deviations, dtype=np.float64)


def estimate_molecule_covariance(
    arms: Sequence[ArmScores], groups: NDArray[np.int64], weights: Floats
) -> Floats:
    """Return the covariance of the arms' mean scores due to the test molecules, (k, k)."""
    influence = [np.bincount(groups, weights=arm.weighted_influence(weights)) for arm in arms]
    return np.atleast_2d(np.inner(influence, influence))


def estimate_seed_covariance(
    arms: Sequence[ArmScores], molecules: Floats, weights: Floats
) -> tuple[Floats, int]:
    """Return the covariance of the arms' mean scores due to their seeds.

    Computed like `paired.estimate_seed_term`: from the spread between the seeds of a fold or, with
    one seed, from the spread of the folds beyond that of their molecules, without its negative
    part.

    Parameters
    ----------
    arms : sequence of ArmScores, (k,)
    molecules : ndarray of float64, (k, k)
        Result of `estimate_molecule_covariance`.
    weights : ndarray of float64, (l,)

    Returns
    -------
    covariance : ndarray of float64, (k, k)
    freedom : int
        Degrees of freedom; 0 with one seed and one fold, which do not allow an estimate.
    """
    keys = arms[0].keys
    values = np.stack([arm.values(weights) for arm in arms], axis=1)
    between = _group_covariances(values, keys, seeds=True)
    if between:
        mean = np.mean([covariance for covariance, _ in between], axis=0)
        return mean / len(values), sum(freedom for _, freedom in between)
    within = _group_covariances(values, keys, seeds=False)
    freedom = sum(freedom for _, freedom in within)
    if not freedom:
        return np.zeros_like(molecules), 0
    pooled = np.sum([covariance * df for covariance, df in within], axis=0) / freedom
    repeats = len({repeat for _, repeat, _ in keys})
    return _clip_eigenvalues(pooled / len(values) - molecules / repeats), freedom


def _group_covariances(
    values: Floats, keys: Sequence[Repeat], *, seeds: bool
) -> list[tuple[Floats, int]]:
    """Return covariance and degrees of freedom of the trials of each fold, or of each repeat."""
    groups: dict[tuple[int, ...], list[Floats]] = {}
    for (_, repeat, fold), row in zip(keys, values, strict=True):
        groups.setdefault((repeat, fold) if seeds else (repeat,), []).append(row)
    several = [np.array(group) for group in groups.values() if len(group) > 1]
    return [(np.atleast_2d(np.cov(group.T)), len(group) - 1) for group in several]


def _clip_eigenvalues(matrix: Floats) -> Floats:
    """Return a symmetric matrix with its negative eigenvalues set to 0."""
    eigenvalues, eigenvectors = np.linalg.eigh(matrix)
    return np.asarray((eigenvectors * np.maximum(eigenvalues, 0)) @ eigenvectors.T)
