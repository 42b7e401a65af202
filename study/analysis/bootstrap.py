"""Draws of the scores of several arms at once: what other molecules and seeds would have shown.

For statistics that have no influence curve of their own (power laws, data-efficiency fractions).
The arms share their test molecules, so they are drawn together.

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


def finished_arms(evidence: StudyAnalysis) -> list[Arm]:
    """Return the arms of the plan that have at least one finished trial."""
    return [arm for arm in evidence.record.plan.arms if arm.id in evidence.arms]


def common_arms(evidence: StudyAnalysis, arms: Sequence[Arm]) -> list[ArmScores]:
    """Return the arms of arms over the trials that all of them have finished; [] without any."""
    all_scores = [evidence.arms[arm.id] for arm in arms if arm.id in evidence.arms]
    keys = (
        set(all_scores[0].keys).intersection(*(scores.keys for scores in all_scores))
        if all_scores
        else set()
    )
    if len(all_scores) < len(arms) or not keys:
        return []
    molecules = len(evidence.record.data.dataset)
    wanted = tuple(sorted(keys))
    return [
        scores
        if scores.keys == wanted
        else build_arm_scores(evidence.record.results_of(arm), molecules, wanted, evidence.groups)
        for arm, scores in zip(arms, all_scores, strict=True)
    ]


def draw_scores(
    arms: Sequence[ArmScores], groups: NDArray[np.int64], weights: Floats, draws: int, seed: int = 0
) -> Floats:
    """Draw the mean scores of arms: other molecules, and other seeds.

    The molecules by a normal draw of `molecule_covariance`, which is what a bootstrap of whole
    groups of the test folds amounts to with many groups, without computing an AUROC again; the
    seeds by a draw of `seed_covariance` from a t, for its degrees of freedom are few.

    Parameters
    ----------
    arms : sequence of ArmScores, (k,)
        With the same keys.
    groups : ndarray of int64, (n,)
    weights : ndarray of float64, (l,)
        Of the labels in the score.
    draws : int
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    ndarray of float64, (d, k)
    """
    rng, center = np.random.default_rng(seed), np.zeros(len(arms))
    means = np.array([arm.values(weights).mean() for arm in arms])
    molecules = molecule_covariance(arms, groups, weights)
    seeds, freedom = seed_covariance(arms, molecules, weights)
    drawn = rng.multivariate_normal(center, molecules, size=draws, method="eigh")
    if freedom:
        other = rng.multivariate_normal(center, seeds, size=draws, method="eigh")
        drawn += other / np.sqrt(rng.chisquare(freedom, size=(draws, 1)) / freedom)
    return np.asarray(means + drawn, dtype=np.float64)


def molecule_covariance(
    arms: Sequence[ArmScores], groups: NDArray[np.int64], weights: Floats
) -> Floats:
    """Return the covariance of the arms' means that is due to the test molecules, (k, k)."""
    pulls = [np.bincount(groups, weights=arm.pulls(weights)) for arm in arms]
    return np.atleast_2d(np.inner(pulls, pulls))


def seed_covariance(
    arms: Sequence[ArmScores], molecules: Floats, weights: Floats
) -> tuple[Floats, int]:
    """Return the covariance of the arms' means that is due to their seeds.

    The same terms as of a single difference (`seeds.seed_term`): between the seeds of a fold,
    or, with one seed, what the folds scatter beyond their molecules, without its negative part.

    Parameters
    ----------
    arms : sequence of ArmScores, (k,)
    molecules : ndarray of float64, (k, k)
        `molecule_covariance`.
    weights : ndarray of float64, (l,)

    Returns
    -------
    covariance : ndarray of float64, (k, k)
    freedom : int
        Degrees of freedom; 0 with one seed and one fold, where nothing is known.
    """
    keys = arms[0].keys
    values = np.stack([arm.values(weights) for arm in arms], axis=1)
    between = _scatters(values, keys, seeds=True)
    if between:
        mean = np.mean([covariance for covariance, _ in between], axis=0)
        return mean / len(values), sum(freedom for _, freedom in between)
    within = _scatters(values, keys, seeds=False)
    freedom = sum(freedom for _, freedom in within)
    if not freedom:
        return np.zeros_like(molecules), 0
    pooled = np.sum([covariance * df for covariance, df in within], axis=0) / freedom
    repeats = len({repeat for _, repeat, _ in keys})
    return _positive(pooled / len(values) - molecules / repeats), freedom


def _scatters(values: Floats, keys: Sequence[Repeat], *, seeds: bool) -> list[tuple[Floats, int]]:
    """Covariance and degrees of freedom of the trials of each fold, or of each repeat."""
    groups: dict[tuple[int, ...], list[Floats]] = {}
    for (_, repeat, fold), row in zip(keys, values, strict=True):
        groups.setdefault((repeat, fold) if seeds else (repeat,), []).append(row)
    several = [np.array(group) for group in groups.values() if len(group) > 1]
    return [(np.atleast_2d(np.cov(group.T)), len(group) - 1) for group in several]


def _positive(matrix: Floats) -> Floats:
    """Return a symmetric matrix without the directions of negative variance."""
    sizes, directions = np.linalg.eigh(matrix)
    return np.asarray((directions * np.maximum(sizes, 0)) @ directions.T)
