"""Gains by label density, and ownership of labels by modalities."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from study.analysis.arm_scores import ArmScores
from study.analysis.influence import Floats
from study.analysis.negative_controls import NullRibbon, estimate_null_ribbon, estimate_oracle_gains
from study.analysis.paired import PairedDifference, estimate_difference
from study.analysis.study_analysis import StudyAnalysis
from study.analysis.verdicts import control_false_discoveries
from study.metrics import macro_mean
from study.planning.contrasts import Contrast
from study.planning.trials import Arm
from study.results.trial_result import TrialResult


@dataclass(frozen=True)
class LabelGain:
    """Gain of an arm over its reference on one label.

    Attributes
    ----------
    name : str
    positives : int
        Number in the whole data set.
    fifth : int
        Density fifth; 0 is the densest.
    auroc_arm, auroc_reference : float
        Means over the trials; NaN if the label is undefined in one of them.
    gain, se, low, high, p : float
        Difference, its standard error, 95 % interval and two-sided p value.
    q : float
        Benjamini-Hochberg q value over the labels with a p value.
    headroom : float
        Gain as a share of the reference's distance to 1; NaN if that distance is 0.
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
        0 is the densest.
    labels : int
        Number of labels.
    fewest, most : int
        Positives of the rarest and of the most frequent label, in the whole data set.
    auroc_arm, auroc_reference : float
    difference : PairedDifference
    ap_gain, headroom : float
        As in `LabelGain`, for the means of the fifth.
    """

    fifth: int
    labels: int
    fewest: int
    most: int
    auroc_arm: float
    auroc_reference: float
    difference: PairedDifference
    ap_gain: float
    headroom: float


@dataclass(frozen=True)
class DensitySlope:
    """Change of the AUROC gain per doubling of the positives; negative if rare labels gain more.

    Attributes
    ----------
    estimate, se, low, high, p : float
        NaN if fewer than three labels have a standard error.
    """

    estimate: float
    se: float
    low: float
    high: float
    p: float


Owners = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelOwnership:
    """The modality that owns each label of an arm with a fixed partition.

    Attributes
    ----------
    arm : Arm
    modalities : tuple of str, (k,)
        Names that `owners` indexes.
    owners : ndarray of int64, (r, l)
        Owner of each label in each trial, in the order of seeds, repeats and folds.
    agreement : float
        Share of labels with the same owner, mean over all pairs of trials; NaN with one trial.
    jaccard : float
        Jaccard index of the labels of a modality in two trials, mean over modalities and pairs;
        NaN with one trial.
    """

    arm: Arm
    modalities: tuple[str, ...]
    owners: Owners
    agreement: float
    jaccard: float


def read_label_ownership(analysis: StudyAnalysis) -> tuple[LabelOwnership, ...]:
    """Return the label owners of every arm whose finished trials recorded a fixed partition."""
    arms = [arm for arm in analysis.results.plan.arms if arm.partition is not None]
    recorded = [(arm, _read_owners(analysis.results.results_of(arm))) for arm in arms]
    return tuple(_build_ownership(arm, owners) for arm, owners in recorded if len(owners))


def compute_owner_agreement(owners: Owners) -> float:
    """Return the share of labels with the same owner, mean over all pairs of rows of (r, l)."""
    return _mean([float(np.mean(one == other)) for one, other in itertools.combinations(owners, 2)])


def compute_jaccard_similarity(owners: Owners, modalities: int) -> float:
    """Return the Jaccard index of the labels of a modality, mean over modalities and row pairs.

    A modality that owns no label in either row is left out.

    Parameters
    ----------
    owners : ndarray of int64, (r, l)
    modalities : int
    """
    pairs = itertools.combinations(owners, 2)
    return _mean(
        [
            _compute_jaccard_index(a, b, m)
            for a, b in pairs
            for m in range(modalities)
            if m in (*a, *b)
        ]
    )


def _compute_jaccard_index(one: Owners, other: Owners, modality: int) -> float:
    first, second = one == modality, other == modality
    return float((first & second).sum() / (first | second).sum())


def _build_ownership(arm: Arm, owners: Owners) -> LabelOwnership:
    overlap = compute_jaccard_similarity(owners, len(arm.names))
    return LabelOwnership(arm, arm.names, owners, compute_owner_agreement(owners), overlap)


def _read_owners(results: Sequence[TrialResult]) -> Owners:
    return np.array([result.owners for result in results if result.owners], dtype=np.int64)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


FEWEST = 3
"""Minimum number of labels for a slope and its interval."""


@dataclass(frozen=True)
class SparseGain:
    """Gain of one contrast by label and by label density.

    Attributes
    ----------
    contrast : Contrast
    labels : tuple of LabelGain, (l,)
        In the order of the data set.
    fifths : tuple of FifthGain, (k,)
        Densest first; fewer than five if there are fewer labels.
    slope : DensitySlope
    null : NullRibbon or None
        Range of the gain of the reference over itself under other seeds; None with one seed.
    oracle : tuple of float, (k,)
        Spurious gain of each fifth from choosing, for each label, the better of two seeds of the
        reference on the test folds; empty with one seed.
    """

    contrast: Contrast
    labels: tuple[LabelGain, ...]
    fifths: tuple[FifthGain, ...]
    slope: DensitySlope
    null: NullRibbon | None
    oracle: tuple[float, ...]


def estimate_sparse_gain(analysis: StudyAnalysis, contrast: Contrast) -> SparseGain:
    """Estimate the gain of a contrast by label, by density fifth, and its trend with density.

    The slope is that of a regression of the gains on log2(positives), weighted by 1 / SE^2. Labels
    share molecules, so an ordinary regression, which assumes independent points, would understate
    its error. The slope is linear in the gains, so its interval is computed from the molecules
    like that of any weighted difference.

    Parameters
    ----------
    analysis : StudyAnalysis
    contrast : Contrast
        Contrast with trials that both sides have finished.
    """
    sides = _Sides(analysis, *analysis.pair(contrast))
    fifths = tuple(sides.fifth(k) for k in range(sides.fifths))
    weights = [analysis.fifth_weights(k) for k in range(sides.fifths)]
    trend_weights = sides.compute_slope_weights()
    return SparseGain(
        contrast=contrast,
        labels=sides.labels(),
        fifths=fifths,
        slope=sides.slope(trend_weights),
        null=estimate_null_ribbon(sides.reference, weights, trend_weights),
        oracle=estimate_oracle_gains(sides.reference, weights),
    )


@dataclass(frozen=True, eq=False)
class _Sides:
    """Both arms of a contrast on their shared trials."""

    analysis: StudyAnalysis
    arm: ArmScores
    reference: ArmScores

    @property
    def positives(self) -> Floats:
        return self.analysis.results.data.dataset.positives.astype(np.float64)

    @property
    def fifths(self) -> int:
        return 1 + int(self.analysis.fifths.max())

    @cached_property
    def label_differences(self) -> list[PairedDifference]:
        """Difference on each single label."""
        return [self.compare(weights) for weights in np.eye(len(self.positives))]

    def compare(self, weights: Floats) -> PairedDifference:
        return estimate_difference(self.arm, self.reference, self.analysis.groups, weights)

    def labels(self) -> tuple[LabelGain, ...]:
        names = self.analysis.results.data.dataset.label_names
        q = control_false_discoveries([single.p for single in self.label_differences])
        return tuple(self._build_label_gain(i, name, q[i]) for i, name in enumerate(names))

    def _build_label_gain(self, column: int, name: str, q: float) -> LabelGain:
        difference = self.label_differences[column]
        aurocs = [float(side.auroc[:, column].mean()) for side in (self.arm, self.reference)]
        precision = self.arm.average_precision - self.reference.average_precision
        return LabelGain(
            name=name,
            positives=int(self.positives[column]),
            fifth=int(self.analysis.fifths[column]),
            auroc_arm=aurocs[0],
            auroc_reference=aurocs[1],
            gain=difference.estimate,
            se=difference.se,
            low=difference.low,
            high=difference.high,
            p=difference.p,
            q=q,
            headroom=_compute_headroom(difference.estimate, aurocs[1]),
            ap_gain=float(precision[:, column].mean()),
        )

    def fifth(self, fifth: int) -> FifthGain:
        weights, members = self.analysis.fifth_weights(fifth), self.analysis.fifths == fifth
        difference = self.compare(weights)
        levels = [float(side.values(weights).mean()) for side in (self.arm, self.reference)]
        precision = self.arm.average_precision - self.reference.average_precision
        counts = self.positives[members]
        return FifthGain(
            fifth=fifth,
            labels=int(members.sum()),
            fewest=int(counts.min()),
            most=int(counts.max()),
            auroc_arm=levels[0],
            auroc_reference=levels[1],
            difference=difference,
            ap_gain=float(np.mean([macro_mean(trial, members).value for trial in precision])),
            headroom=_compute_headroom(difference.estimate, levels[1]),
        )

    def compute_slope_weights(self) -> Floats:
        """Return the weights of the labels in the slope, (l,); zeros if there is no slope."""
        errors = np.array([single.se for single in self.label_differences])
        return compute_slope_weights(self.positives, errors)

    def slope(self, weights: Floats) -> DensitySlope:
        if not weights.any():
            return DensitySlope(*[float("nan")] * 5)
        difference = self.compare(weights)
        return DensitySlope(
            difference.estimate, difference.se, difference.low, difference.high, difference.p
        )


def compute_slope_weights(positives: Floats, errors: Floats) -> Floats:
    """Return the weights whose sum over the gains is their regression slope, (l,).

    ``w_l (x_l - m) / sum of w (x - m)^2`` with x = log2(positives), w = 1 / SE^2 and m the
    weighted mean of x. A label without a standard error, or with standard error 0, has weight 0.

    Returns
    -------
    ndarray of float64, (l,)
        All zeros if fewer than three labels are left, or all have the same density.
    """
    usable = np.isfinite(errors) & (errors > 0)
    weights = np.zeros(len(errors))
    if usable.sum() < FEWEST or len(np.unique(positives[usable])) < 2:
        return weights
    x, w = np.log2(positives[usable]), 1 / errors[usable] ** 2
    deviations = x - np.average(x, weights=w)
    weights[usable] = w * deviations / (w @ deviations**2)
    return weights


def _compute_headroom(gain: float, reference: float) -> float:
    return gain / (1 - reference) if reference < 1 else float("nan")


__all__ = [
    "DensitySlope",
    "FifthGain",
    "LabelGain",
    "NullRibbon",
    "SparseGain",
    "estimate_sparse_gain",
]
