"""AUROC of one part of a table again and again: what a training monitors after each epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class QuickAuroc:
    """The values of `study.metrics.auroc`, to the last bit, several times as fast.

    Scores and labels of one label are sorted together as one whole number each: the bits of a
    float32, which rise with its value once those of negative numbers are turned over, and below
    them the label. All that is known of the labels alone is kept.

    Parameters
    ----------
    labels : ndarray of 0/1, (n, l)
    """

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self._truth = np.ascontiguousarray(labels.T).astype(np.int64)  # (l, n)
        positives = self._truth.sum(axis=1).astype(np.float64)
        self._least = positives * (positives + 1) / 2  # rank sum of positives below all others
        self._pairs = positives * (labels.shape[0] - positives)

    def __call__(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the AUROC of finite scores (n, l): (l,), NaN where it is undefined."""
        keys = (_rising(np.ascontiguousarray(scores.T)) << 1) | self._truth
        keys.sort(axis=1)
        sums = ((keys & 1) @ np.arange(1, keys.shape[1] + 1)).astype(np.float64)
        tied = ((keys[:, 1:] ^ keys[:, :-1]) <= 1).any(axis=1)
        sums[tied] = _rank_sums(keys[tied])
        values = np.full(len(keys), np.nan)
        np.divide(sums - self._least, self._pairs, values, where=self._pairs > 0)
        return values


def _rank_sums(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the mid-ranks of the positives of each label, (l,); `keys` (l, n) are sorted."""
    n = keys.shape[1]
    first = np.ones(keys.shape, dtype=np.bool_)  # of those that tie
    np.not_equal(keys[:, 1:] >> 1, keys[:, :-1] >> 1, out=first[:, 1:])
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], keys.size)
    positives = np.add.reduceat((keys & 1).ravel(), starts)
    label = starts // n
    middles = (starts + ends + 1) / 2 - label * n  # ranks count from 1
    return np.bincount(label, positives * middles, len(keys)).astype(np.float64, copy=False)


def _rising(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Whole numbers in the order of the scores; 0.0 and -0.0 are one."""
    bits: NDArray[Any] = (scores + np.float32(0)).view(np.int32)
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)  # of negative numbers only
    return bits.astype(np.int64)
