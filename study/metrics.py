"""Per-label ranking metrics and their means over fixed label sets.

Shapes: n molecules, l labels, k density groups. An undefined value is NaN, never zero and never
dropped: a mean over labels is taken over a set that was fixed beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from study.errors import StudyError

Values = NDArray[np.float64]


class MetricError(StudyError, ValueError):
    """Labels or scores that cannot be measured: not 0/1, not finite, or undefined."""


def auroc(labels: ArrayLike, scores: ArrayLike) -> Values:
    """Area under the ROC curve of every label, by the Mann-Whitney statistic.

    The probability that a molecule with the label scores above one without it, a tie counting
    one half: with mid-ranks r, ``(sum of r over positives - p (p + 1) / 2) / (p q)`` for p
    positives and q negatives (Hanley & McNeil 1982, Radiology 143:29).

    Parameters
    ----------
    labels : array of 0/1, (n, l)
    scores : array of float, (n, l)
        On any scale: logits and probabilities rank alike.

    Returns
    -------
    ndarray of float64, (l,)
        NaN where a label has no positives or no negatives.

    Raises
    ------
    MetricError
        Shapes differ, labels are not 0/1, or a score is NaN or infinite.
    """
    truth, values = _checked(labels, scores)
    ranks: Values = rankdata(values, axis=0)
    positives = truth.sum(axis=0, dtype=np.float64)
    pairs = positives * (len(truth) - positives)
    wins = (ranks * truth).sum(axis=0) - positives * (positives + 1) / 2
    return _ratio(wins, pairs)


def average_precision(labels: ArrayLike, scores: ArrayLike) -> Values:
    """Average precision of every label: mean over positives of the precision at their score.

    Equal to ``sum of (R_k - R_(k-1)) P_k`` over the distinct scores, from high to low: tied
    molecules are retrieved together, and nothing is interpolated.

    Takes and refuses what `auroc` does, and returns (l,) with NaN where a label has no
    positives.
    """
    truth, values = _checked(labels, scores)
    order = np.argsort(-values, axis=0, kind="stable")
    hits = np.take_along_axis(truth, order, axis=0)
    found = np.cumsum(hits, axis=0, dtype=np.int64)
    # Molecules retrieved once all that tie with this one are in, (n, l).
    depth = rankdata(-np.take_along_axis(values, order, axis=0), method="max", axis=0).astype(
        np.int64
    )
    precision = np.take_along_axis(found, depth - 1, axis=0) / depth
    positives = hits.sum(axis=0, dtype=np.float64)
    return _ratio((precision * hits).sum(axis=0), positives)


def n_defined(values: ArrayLike) -> int:
    """Count the labels with a defined (not NaN) value."""
    return int(np.count_nonzero(~np.isnan(np.asarray(values, dtype=np.float64))))


def fixed_mean(
    values: ArrayLike, mask: ArrayLike, label_names: Sequence[str] | None = None
) -> float:
    """Mean over a label set that was fixed before anything was measured.

    Parameters
    ----------
    values : array of float, (l,)
        A metric of every label.
    mask : array of bool, (l,)
        The label set. What lies outside it may be undefined.
    label_names : sequence of str, (l,), optional
        For the message.

    Raises
    ------
    MetricError
        The set is empty, or the metric is undefined for a label of it: dropping that label would
        change what the mean means from fold to fold.
    """
    metric, chosen = np.asarray(values, dtype=np.float64), np.asarray(mask)
    if chosen.dtype != np.bool_ or chosen.shape != metric.shape:
        raise MetricError(
            f"the label set must be a mask of bool with shape {metric.shape}, "
            f"not {chosen.dtype} {chosen.shape}"
        )
    if not chosen.any():
        raise MetricError("the label set is empty: there is nothing to average")
    undefined = np.flatnonzero(chosen & ~np.isfinite(metric))
    if len(undefined):
        raise MetricError(
            f"undefined for {len(undefined)} of {chosen.sum()} labels of the fixed set: "
            f"{_named(undefined, label_names)}; these labels lack positives or negatives here: "
            "use fewer folds, or leave them out of the set for the whole study"
        )
    return float(metric[chosen].mean())


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


def fifth_means(
    values: ArrayLike,
    fifths: ArrayLike,
    *,
    k: int = 5,
    mask: ArrayLike | None = None,
    label_names: Sequence[str] | None = None,
) -> Values:
    """Mean of a metric in every density group, -> (k,); NaN for a group without labels.

    Parameters
    ----------
    values, mask, label_names
        As for `fixed_mean`, which takes every mean; without a mask all labels are the set.
    fifths : array of int, (l,)
        Group of every label, from `density_fifths` with the same k.
    """
    groups = np.asarray(fifths)
    chosen = np.ones(groups.shape, dtype=np.bool_) if mask is None else np.asarray(mask)
    means = np.full(k, np.nan)
    for group in range(k):
        members = chosen & (groups == group)
        if members.any():
            means[group] = fixed_mean(values, members, label_names)
    return means


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Values]:
    """Return truth and scores as bool and float64 (n, l), or say what is wrong with them."""
    truth: NDArray[Any] = np.asarray(labels)
    values = np.asarray(scores, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != values.shape:
        raise MetricError(
            f"labels and scores must have one shape (n, l), not {truth.shape} and {values.shape}"
        )
    if not np.isin(truth, (0, 1)).all():
        raise MetricError("labels must be 0 or 1: threshold ratings before measuring a ranking")
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = wrong[0]
        raise MetricError(
            f"{len(wrong)} of {values.size} scores are NaN or infinite, the first at row {row}, "
            f"label column {column}: a ranking needs finite scores"
        )
    return truth.astype(np.bool_), values


def _ratio(numerator: Values, denominator: Values) -> Values:
    """Quotient per label, NaN where the denominator is zero, (l,)."""
    quotient = np.full(len(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _named(columns: NDArray[np.int64], names: Sequence[str] | None) -> str:
    return ", ".join(f"column {c}" if names is None else f"'{names[c]}'" for c in columns)
