"""How much each molecule of a test fold pulls on the AUROC of each label.

Shapes: t molecules of a test fold, l labels.

The structural components of DeLong et al. 1988 (Biometrics 44:837), by one sort of every label as
in Sun & Xu 2014 (IEEE Signal Process. Lett. 21:1389). Summed over labels they give each molecule
one number, which carries the correlation between labels: the multi-label paired form of the
influence-curve interval of LeDell, Petersen & van der Laan 2015 (Electron. J. Stat. 9:1583).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.metrics import auroc

Floats = NDArray[np.float64]


class Influence(NamedTuple):
    """AUROC of every label on one test fold, and every molecule's influence on it.

    Attributes
    ----------
    auroc : ndarray of float64, (l,)
        NaN where a label has no positives or no negatives.
    average_precision : ndarray of float64, (l,)
        Equal to that of `study.metrics`, from the same sort; NaN where a label has no positives.
    influence : ndarray of float64, (t, l)
        The sum of squares over molecules is DeLong's variance of the AUROC of a label; the sum
        itself is 0. NaN where the AUROC is.
    """

    auroc: Floats
    average_precision: Floats
    influence: Floats


def compute_influence(
    labels: NDArray[np.uint8],
    scores: NDArray[np.float32],
    groups: NDArray[np.int64] | None = None,
) -> Influence:
    """Return the AUROC of every label and each molecule's influence on it.

    A positive counts the share of negatives below it, a negative the share of positives above
    it, ties one half; their means over positives and over negatives are the AUROC. The influence
    is the deviation from it over the number of positives (negatives), times ``sqrt(p / (p - 1))``,
    which makes the sum of squares DeLong's estimate; a label with one positive (negative) has no
    such estimate, and is given its plain deviation, 0. Where molecules are drawn in groups, p of
    this factor is the effective number of groups, ``1 / sum of (share of the positives)^2``:
    twins count once.

    Parameters
    ----------
    labels : ndarray of 0/1, (t, l)
    scores : ndarray of float, (t, l)
        Finite.
    groups : ndarray of int64, (t,), optional
        Group of each molecule; without them every molecule is its own.
    """
    ranking = _rank(labels, scores)
    truth, positives, negatives = ranking.truth, ranking.positives, ranking.negatives
    with_it, without = _few_factors(np.asarray(labels, dtype=np.bool_), groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        wins = ranking.negatives_below / negatives
        losses = 1 - ranking.positives_below / positives
        components = np.where(truth, wins, losses)
        auroc = np.where(truth, components, 0).sum(axis=1) / positives[:, 0]
        auroc[negatives[:, 0] == 0] = np.nan
        shares = np.where(truth, with_it / positives, without / negatives)
        deviations = (components - auroc[:, None]) * shares
        precision = np.where(truth, ranking.precision, 0).sum(axis=1) / positives[:, 0]
    deviations[np.isnan(auroc)] = np.nan
    influence = np.empty(labels.shape)
    np.put_along_axis(influence.T, ranking.order, deviations, axis=1)
    return Influence(auroc, precision, influence)


def _few_factors(
    truth: NDArray[np.bool_], groups: NDArray[np.int64] | None
) -> tuple[Floats, Floats]:
    """Factors by which few positives, and few negatives, understate their spread, (l, 1) each."""
    kinds = truth, ~truth
    numbers = [np.maximum(kind.sum(axis=0, dtype=np.float64), 1) for kind in kinds]
    if groups is None or len(np.unique(groups)) == len(groups):
        effective = numbers
    else:
        order = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        counts = [np.add.reduceat(kind[order], starts, axis=0, dtype=np.float64) for kind in kinds]
        squares = [np.maximum((count**2).sum(axis=0), 1) for count in counts]
        effective = [n**2 / square for n, square in zip(numbers, squares, strict=True)]
    lone = [e <= 1 for e in effective]  # no spread to estimate: the plain deviation
    with_it, without = (
        np.sqrt(e / np.where(one, e, e - 1)) for e, one in zip(effective, lone, strict=True)
    )
    return with_it[:, None], without[:, None]


def pooled_auroc(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """AUROC over all pairs of molecule and label (micro); NaN where they are all alike."""
    return float(auroc(labels.reshape(-1, 1), scores.reshape(-1, 1))[0])


class _Ranking(NamedTuple):
    """Molecules of every label from the lowest score to the highest.

    Attributes
    ----------
    order : ndarray of int, (l, t)
        Molecule at each place.
    truth : ndarray of bool, (l, t)
        Whether it has the label.
    positives, negatives : ndarray of float64, (l, 1)
    positives_below, negatives_below : ndarray of float64, (l, t)
        Ties one half.
    precision : ndarray of float64, (l, t)
        Share of positives among all that score as high or higher.
    """

    order: NDArray[np.intp]
    truth: NDArray[np.bool_]
    positives: Floats
    negatives: Floats
    positives_below: Floats
    negatives_below: Floats
    precision: Floats


def _rank(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> _Ranking:
    """Sort every label once; how ties are ordered does not matter."""
    columns = np.ascontiguousarray(np.asarray(scores).T)
    order = np.argsort(columns, axis=1)
    first, after = _ties(np.take_along_axis(columns, order, axis=1))
    truth = np.take_along_axis(np.asarray(labels, dtype=np.bool_).T, order, axis=1)
    counted = np.zeros((truth.shape[0], truth.shape[1] + 1))
    np.cumsum(truth, axis=1, out=counted[:, 1:])
    lower = np.take_along_axis(counted, first, axis=1)  # positives strictly below
    upto = np.take_along_axis(counted, after, axis=1)
    positives = counted[:, -1:]
    return _Ranking(
        order=order,
        truth=truth,
        positives=positives,
        negatives=truth.shape[1] - positives,
        positives_below=(lower + upto) / 2,
        negatives_below=(first + after - lower - upto) / 2,
        precision=(positives - lower) / (truth.shape[1] - first),
    )


def _ties(ranked: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Place of the first that ties with each of the rising scores (l, t), and after the last."""
    places = np.arange(ranked.shape[1])
    starts = np.ones(ranked.shape, dtype=np.bool_)
    starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    first = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    ends = np.ones(ranked.shape, dtype=np.bool_)
    ends[:, :-1] = starts[:, 1:]
    last = np.where(ends, places + 1, ranked.shape[1])[:, ::-1]
    return first, np.minimum.accumulate(last, axis=1)[:, ::-1]
