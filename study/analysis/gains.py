"""Gains on a label, on a density fifth, and their trend in density: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from study.analysis.inference import Difference


@dataclass(frozen=True)
class LabelGain:
    """Gain on one label.

    Attributes
    ----------
    name : str
    positives : int
        In the whole table.
    fifth : int
        Density fifth, 0 the densest.
    auroc_arm, auroc_reference : float
        Means over the trials; NaN where the label is undefined in one of them.
    gain, se, low, high, p : float
        Difference, its standard error, 95 % interval, two-sided p.
    q : float
        Benjamini-Hochberg over the labels with a p.
    headroom : float
        Share of the reference's distance to 1 that the gain is worth; NaN where that is 0.
    ap_gain : float
        Difference in average precision.
    """

    name: str
    positives: int
    fifth: int
    auroc_arm: float
    auroc_reference: float
    gain: float
    se: float
    low: float
    high: float
    p: float
    q: float
    headroom: float
    ap_gain: float


@dataclass(frozen=True)
class FifthGain:
    """Mean gain on the labels of one density fifth.

    Attributes
    ----------
    fifth : int
        0 the densest.
    labels : int
        Number of them.
    fewest, most : int
        Positives, in the whole table, of the rarest and the most frequent of them.
    auroc_arm, auroc_reference : float
    difference : Difference
    ap_gain, headroom : float
        As for `LabelGain`, of the means of the fifth.
    """

    fifth: int
    labels: int
    fewest: int
    most: int
    auroc_arm: float
    auroc_reference: float
    difference: Difference
    ap_gain: float
    headroom: float


@dataclass(frozen=True)
class Slope:
    """AUROC gained per doubling of the positives: below 0 where rare labels gain more.

    Attributes
    ----------
    estimate, se, low, high, p : float
        NaN where fewer than three labels have a standard error.
    """

    estimate: float
    se: float
    low: float
    high: float
    p: float
