"""Influence of each molecule of a test fold on the AUROC of each label.

Shapes: t molecules of a test fold, l labels.

The structural components of DeLong et al. 1988 (Biometrics 44:837) are computed with one sort per
label, as in Sun & Xu 2014 (IEEE Signal Process. Lett. 21:1389). Their sum over labels is one
number per molecule that carries the correlation between labels. This is the multi-label, paired
form of the influence-curve interval of LeDell, Petersen & van der Laan 2015 (Electron. J. Stat.
9:1583).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.metrics import auroc

Floats = NDArray[np.float64]


class Influence(NamedTuple):
    """AUROC of every label on one test fold, and the influence of every molecule on it.

    Attributes
    ----------
    auroc : ndarray of float64, (l,)
        NaN if a label has no positives or no negatives.
    average_precision : ndarray of float64, (l,)
        Equal to that of `study.metrics`, from the same sort; NaN if a label has no positives.
    influence : ndarray of float64, (t, l)
        Sums to 0 over the molecules; the sum of squares is DeLong's variance of the AUROC. NaN
        where the AUROC is NaN.
    """

    auroc: Floats
    average_precision: Floats
    influence: Floats


def compute_influence(
    labels: NDArray[np.uint8],
    scores: NDArray[np.float32],
    groups: NDArray[np.int64] | None = None,
) -> Influence:
    """Return the AUROC of every label and the influence of each molecule on it.

    The component of a positive is the share of negatives that score below it, that of a negative
    the share of positives that score above it; ties count one half. The mean over positives and
    the mean over negatives both equal the AUROC. The influence of a positive is the deviation of
    its component from the AUROC, divided by the number of positives p and multiplied by
    ``sqrt(p / (p - 1))``, so that the sum of squares is DeLong's estimate; likewise for negatives.
    With p = 1 there is no such estimate, and the factor is left out.

    If molecules are sampled in groups, p in this factor is the effective number of groups,
    ``1 / sum of (share of the positives)^2``, so that duplicates count once.

    Parameters
    ----------
    labels : ndarray of 0/1, (t, l)
    scores : ndarray of float, (t, l)
        Finite.
    groups : ndarray of int64, (t,), optional
        Group of each molecule; by default every molecule forms its own group.
    """
    ranking = _rank(labels, scores)
    truth, positives, negatives = ranking.truth, ranking.positives, ranking.negatives
    positive_factors, negative_factors = _compute_small_sample_factors(
        np.asarray(labels, dtype=np.bool_), groups
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        wins = ranking.negatives_below / negatives
        losses = 1 - ranking.positives_below / positives
        components = np.where(truth, wins, losses)
        auroc = np.where(truth, components, 0).sum(axis=1) / positives[:, 0]
        auroc[negatives[:, 0] == 0] = np.nan
        shares = np.where(truth, positive_factors / positives, negative_factors / negatives)
        deviations = (components - auroc[:, None]) * shares
        precision = np.where(truth, ranking.precision, 0).sum(axis=1) / positives[:, 0]
    deviations[np.isnan(auroc)] = np.nan
    influence = np.empty(labels.shape)
    np.put_along_axis(influence.T, ranking.order, deviations, axis=1)
    return Influence(auroc, precision, influence)


def _compute_small_sample_factors(
    truth: NDArray[np.bool_], groups: NDArray[np.int64] | None
) -> tuple[Floats, Floats]:
    """Return the small-sample factors of positives and of negatives, (l, 1) each."""
    classes = truth, ~truth
    sizes = [np.maximum(members.sum(axis=0, dtype=np.float64), 1) for members in classes]
    if groups is None or len(np.unique(groups)) == len(groups):
        effective = sizes
    else:
        order = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        counts = [
            np.add.reduceat(members[order], starts, axis=0, dtype=np.float64) for members in classes
        ]
        squares = [np.maximum((count**2).sum(axis=0), 1) for count in counts]
        effective = [n**2 / square for n, square in zip(sizes, squares, strict=True)]
    lone = [e <= 1 for e in effective]  # no variance to estimate: leave the deviation as it is
    positive_factors, negative_factors = (
        np.sqrt(e / np.where(one, e, e - 1)) for e, one in zip(effective, lone, strict=True)
    )
    return positive_factors[:, None], negative_factors[:, None]


def compute_pooled_auroc(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Return the AUROC over all pairs of molecule and label (micro); NaN if all are equal."""
    return float(auroc(labels.reshape(-1, 1), scores.reshape(-1, 1))[0])


class _Ranking(NamedTuple):
    """Molecules of every label from the lowest score to the highest.

    Attributes
    ----------
    order : ndarray of int, (l, t)
        Molecule at each rank.
    truth : ndarray of bool, (l, t)
        Whether the molecule has the label.
    positives, negatives : ndarray of float64, (l, 1)
        Counts.
    positives_below, negatives_below : ndarray of float64, (l, t)
        Number of positives and negatives with a lower score; ties count one half.
    precision : ndarray of float64, (l, t)
        Share of positives among all molecules that score as high or higher.
    """

    order: NDArray[np.intp]
    truth: NDArray[np.bool_]
    positives: Floats
    negatives: Floats
    positives_below: Floats
    negatives_below: Floats
    precision: Floats


def _rank(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> _Ranking:
    """Sort the scores of every label once; the order of ties does not matter."""
    columns = np.ascontiguousarray(np.asarray(scores).T)
    order = np.argsort(columns, axis=1)
    first, after = _find_tie_bounds(np.take_along_axis(columns, order, axis=1))
    truth = np.take_along_axis(np.asarray(labels, dtype=np.bool_).T, order, axis=1)
    cumulative = np.zeros((truth.shape[0], truth.shape[1] + 1))
    np.cumsum(truth, axis=1, out=cumulative[:, 1:])
    lower = np.take_along_axis(cumulative, first, axis=1)  # positives strictly below
    up_to = np.take_along_axis(cumulative, after, axis=1)
    positives = cumulative[:, -1:]
    return _Ranking(
        order=order,
        truth=truth,
        positives=positives,
        negatives=truth.shape[1] - positives,
        positives_below=(lower + up_to) / 2,
        negatives_below=(first + after - lower - up_to) / 2,
        precision=(positives - lower) / (truth.shape[1] - first),
    )


def _find_tie_bounds(ranked: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return, for ascending scores (l, t), the first rank of each tie and the rank after it."""
    ranks = np.arange(ranked.shape[1])
    starts = np.ones(ranked.shape, dtype=np.bool_)
    starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    first = np.maximum.accumulate(np.where(starts, ranks, 0), axis=1)
    ends = np.ones(ranked.shape, dtype=np.bool_)
    ends[:, :-1] = starts[:, 1:]
    last = np.where(ends, ranks + 1, ranked.shape[1])[:, ::-1]
    return first, np.minimum.accumulate(last, axis=1)[:, ::-1]
