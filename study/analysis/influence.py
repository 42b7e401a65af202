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

Floats = NDArray[np.float64]


class Pull(NamedTuple):
    """AUROC of every label on one test fold, and every molecule's influence on it.

    Attributes
    ----------
    auroc : ndarray of float64, (l,)
        NaN where a label has no positives or no negatives.
    influence : ndarray of float64, (t, l)
        The sum of squares over molecules is DeLong's variance of the AUROC of a label; the sum
        itself is 0. NaN where the AUROC is.
    """

    auroc: Floats
    influence: Floats


def pull(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> Pull:
    """Return the AUROC of every label and each molecule's influence on it.

    A positive counts the share of negatives below it, a negative the share of positives above
    it, ties one half; their means over positives and over negatives are the AUROC. The influence
    is the deviation from it over the number of positives (negatives), times ``sqrt(p / (p - 1))``,
    which makes the sum of squares DeLong's estimate; a label with one positive (negative) has no
    such estimate, and is given its plain deviation, 0.

    Parameters
    ----------
    labels : ndarray of 0/1, (t, l)
    scores : ndarray of float, (t, l)
        Finite.
    """
    truth = np.asarray(labels, dtype=np.bool_)
    positives = truth.sum(axis=0, dtype=np.float64)
    negatives = len(truth) - positives
    with np.errstate(divide="ignore", invalid="ignore"):
        wins = _below(scores, ~truth) / negatives
        losses = 1 - _below(scores, truth) / positives
        components = np.where(truth, wins, losses)
        auroc = np.where(truth, components, 0).sum(axis=0) / positives
        auroc[negatives == 0] = np.nan
        own = np.where(truth, positives, negatives)
        influence = (components - auroc) / np.sqrt(own * np.maximum(own - 1, 1))
    influence[:, np.isnan(auroc)] = np.nan
    return Pull(auroc, influence)


def _below(scores: NDArray[np.float32], chosen: NDArray[np.bool_]) -> Floats:
    """Count the chosen molecules that score below each molecule, ties one half, (t, l)."""
    order = np.argsort(scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    starts = np.ones(ranked.shape, dtype=np.bool_)
    starts[1:] = ranked[1:] != ranked[:-1]
    rows = np.arange(len(ranked))[:, None]
    first = np.maximum.accumulate(np.where(starts, rows, 0), axis=0)
    ends = np.ones(ranked.shape, dtype=np.bool_)
    ends[:-1] = starts[1:]
    after = np.minimum.accumulate(np.where(ends, rows + 1, len(ranked))[::-1], axis=0)[::-1]
    counted = np.zeros((len(ranked) + 1, ranked.shape[1]))
    np.cumsum(np.take_along_axis(chosen, order, axis=0), axis=0, out=counted[1:])
    both = np.take_along_axis(counted, first, axis=0) + np.take_along_axis(counted, after, axis=0)
    below = np.empty_like(both)
    np.put_along_axis(below, order, both / 2, axis=0)
    return below
