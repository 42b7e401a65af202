"""Per-label ranking metrics and their mean over labels.

Shapes: n molecules, l labels, k density groups. An undefined value is NaN, never zero and never
dropped: `macro_mean` is NaN where a label is undefined, and says how many are defined.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from study.errors import StudyError

Values = NDArray[np.float64]


class MetricError(StudyError, ValueError):
    """Labels or scores that have different shapes, are not 0/1, or are not finite."""


def auroc(labels: ArrayLike, scores: ArrayLike) -> Values:
    """Compute the area under the ROC curve of every label, by the Mann-Whitney statistic.

    The probability that a molecule with the label scores above one without it, a tie counting
    one half: with mid-ranks r, ``(sum of r over positives - p (p + 1) / 2) / (p q)`` for p
    positives and q negatives (Hanley & McNeil 1982, Radiology 143:29).

    Parameters
    ----------
    labels : array of 0/1, (n, l)
    scores : array of float, (n, l)
        On any scale: logits and probabilities give the same ranks.

    Returns
    -------
    ndarray of float64, (l,)
        NaN where a label has no positives or no negatives.

    Raises
    ------
    MetricError
        Shapes differ, labels are not 0/1, or a score is NaN or infinite.
    """
    truth, values = _validate(labels, scores)
    # Scores as integers with the label in the last bit: one sort orders both. (l, n)
    keys = np.ascontiguousarray(_to_sortable_integers(values).T) << 1 | truth.T
    keys.sort(axis=1)
    sums = ((keys & 1) @ np.arange(1, len(truth) + 1)).astype(np.float64)
    # Keys that differ in the last bit at most have equal scores.
    tied = ((keys[:, 1:] ^ keys[:, :-1]) <= 1).any(axis=1)
    sums[tied] = _sum_mid_ranks(keys[tied])
    positives = truth.sum(axis=0, dtype=np.float64)
    return _ratio(sums - positives * (positives + 1) / 2, positives * (len(truth) - positives))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> Values:
    """Compute the average precision of every label: mean over positives of the precision at each.

    Equal to ``sum of (R_k - R_(k-1)) P_k`` over the distinct scores, from high to low: tied
    molecules are retrieved together, and nothing is interpolated.

    Parameters and errors are those of `auroc`. Returns (l,), NaN where a label has no positives.
    """
    truth, values = _validate(labels, scores)
    order = np.argsort(-values, axis=0, kind="stable")
    hits = np.take_along_axis(truth, order, axis=0)
    retrieved = np.cumsum(hits, axis=0, dtype=np.int64)
    # Number of molecules that score at least as high as each, ties included, (n, l).
    depth = rankdata(-np.take_along_axis(values, order, axis=0), method="max", axis=0).astype(
        np.int64
    )
    precision = np.take_along_axis(retrieved, depth - 1, axis=0) / depth
    positives = hits.sum(axis=0, dtype=np.float64)
    return _ratio((precision * hits).sum(axis=0), positives)


class MacroMean(NamedTuple):
    """Mean of a metric over a set of labels.

    Attributes
    ----------
    value : float
        NaN where the metric is undefined for a label of the set, and of an empty set.
    labels : int
        Labels of the set.
    undefined : int
        Labels of the set without a value.
    """

    value: float
    labels: int
    undefined: int


def macro_mean(values: ArrayLike, among: ArrayLike | None = None) -> MacroMean:
    """Average a metric over labels, each label with the same weight.

    An undefined label makes the mean undefined and is counted. Leaving it out would change the
    meaning of the mean from fold to fold, and 0 would be wrong.

    Parameters
    ----------
    values : array of float, (l,)
        A metric of every label, or differences of one; NaN where it is undefined.
    among : array of bool, (l,), optional
        The set of labels, chosen independently of `values`. Default: all.

    Raises
    ------
    MetricError
        `among` is not a Boolean mask of the labels.
    """
    metric = np.asarray(values, dtype=np.float64)
    chosen = np.ones(metric.shape, dtype=np.bool_) if among is None else np.asarray(among)
    if chosen.dtype != np.bool_ or chosen.shape != metric.shape:
        raise MetricError(
            f"the label set must be a mask of bool with shape {metric.shape}, "
            f"not {chosen.dtype} {chosen.shape}"
        )
    labels = int(np.count_nonzero(chosen))
    undefined = int(np.count_nonzero(chosen & np.isnan(metric)))
    value = float(np.where(chosen, metric, 0).sum() / labels) if labels else float("nan")
    return MacroMean(value, labels, undefined)


def density_fifths(positives: ArrayLike, k: int = 5) -> NDArray[np.int64]:
    """Group labels by density: 0 the densest ... k - 1 the sparsest, -> (l,).

    Group sizes differ by at most one. Labels with equal counts go in column order; with fewer
    labels than groups the sparsest groups stay empty.

    Parameters
    ----------
    positives : array of int, (l,)
        Positives in the *whole* table: a fixed property of the label, never a test count.
    k : int
        Number of groups.
    """
    counts = np.asarray(positives)
    if counts.ndim != 1 or k < 1:
        raise MetricError(f"need positives of shape (l,) and k >= 1, not {counts.shape}, k = {k}")
    groups = np.empty(len(counts), dtype=np.int64)
    for group, columns in enumerate(np.array_split(np.argsort(-counts, kind="stable"), k)):
        groups[columns] = group
    return groups


def fifth_means(values: ArrayLike, fifths: ArrayLike, *, k: int = 5) -> Values:
    """Average a metric over the labels of every density group, -> (k,).

    As `macro_mean` does: NaN for a group with an undefined label, and for one without labels.

    Parameters
    ----------
    values : array of float, (l,)
    fifths : array of int, (l,)
        Group of every label, from `density_fifths` with the same k.
    """
    metric, groups = np.asarray(values, dtype=np.float64), np.asarray(fifths)
    return np.array([macro_mean(metric[groups == group]).value for group in range(k)])


def _validate(
    labels: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Return labels as bool and scores as float32 or float64 (n, l), or raise a `MetricError`."""
    truth: NDArray[Any] = np.asarray(labels)
    values: NDArray[Any] = np.asarray(scores)
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    if truth.ndim != 2 or truth.shape != values.shape:
        raise MetricError(
            f"labels and scores must have one shape (n, l), not {truth.shape} and {values.shape}"
        )
    if not ((truth == 0) | (truth == 1)).all():
        raise MetricError("labels must be 0 or 1: threshold ratings before measuring a ranking")
    finite = np.isfinite(values)
    if not finite.all():
        invalid = np.argwhere(~finite)
        row, column = invalid[0]
        raise MetricError(
            f"{len(invalid)} of {values.size} scores are NaN or infinite, the first at row {row}, "
            f"label column {column}: a ranking needs finite scores"
        )
    return truth.astype(np.bool_), values


def _to_sortable_integers(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return integers of 32 bits and sign with the order and ties of finite scores, (n, l)."""
    if scores.dtype != np.float32:
        ranks: NDArray[np.int64] = np.unique(scores, return_inverse=True)[1].reshape(scores.shape)
        return ranks
    # As integers, the bits of floats have the order of their values, if the bits of negative
    # numbers are inverted.
    bits: NDArray[Any] = (scores + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    return bits.astype(np.int64)


def _sum_mid_ranks(keys: NDArray[np.int64]) -> Values:
    """Sum the mid-ranks of the positives of labels with ties, (l,).

    Parameters
    ----------
    keys : ndarray of int64, (l, n)
        Sorted in every row: the score as an integer, with the label in the last bit.
    """
    n = keys.shape[1]
    first = np.ones(keys.shape, dtype=np.bool_)  # the first molecule of each group of ties
    np.not_equal(keys[:, 1:] >> 1, keys[:, :-1] >> 1, out=first[:, 1:])
    starts = np.flatnonzero(first)
    ends = np.append(starts, keys.size)[1:]
    positives = np.add.reduceat((keys & 1).ravel(), starts)
    label = starts // n
    middles = (starts + ends + 1) / 2 - label * n  # ranks count from 1
    return np.bincount(label, positives * middles, len(keys)).astype(np.float64, copy=False)


def _ratio(numerator: Values, denominator: Values) -> Values:
    """Divide per label, (l,); NaN where the denominator is zero."""
    quotient = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
