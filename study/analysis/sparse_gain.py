"""Gains on labels with few positives, and by the modality that owns a label."""

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
    difference : PairedDifference
    ap_gain, headroom : float
        As for `LabelGain`, of the means of the fifth.
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


Owners = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelOwnership:
    """The owners of an arm's labels.

    Attributes
    ----------
    arm : Arm
    modalities : tuple of str, (k,)
        Names that owners number.
    owners : ndarray of int64, (r, l)
        Owner of each label in each trial, in the order of seeds, repeats and folds.
    agreement : float
        Share of labels with the same owner, mean over all pairs of trials; NaN with one trial.
    jaccard : float
        Labels that a modality owns in both trials over those that it owns in either, mean over
        modalities and pairs; NaN with one trial.
    """

    arm: Arm
    modalities: tuple[str, ...]
    owners: Owners
    agreement: float
    jaccard: float


def read_label_ownership(evidence: StudyAnalysis) -> tuple[LabelOwnership, ...]:
    """Return the owners of every arm whose finished trials recorded a fixed partition."""
    arms = [arm for arm in evidence.record.plan.arms if arm.partition is not None]
    found = [(arm, _recorded(evidence.record.results_of(arm))) for arm in arms]
    return tuple(_ownership(arm, owners) for arm, owners in found if len(owners))


def owner_agreement(owners: Owners) -> float:
    """Share of labels with the same owner, mean over all pairs of rows of (r, l)."""
    return _mean([float(np.mean(one == other)) for one, other in itertools.combinations(owners, 2)])


def jaccard_similarity(owners: Owners, modalities: int) -> float:
    """Jaccard index of the labels of each modality, mean over modalities and pairs of (r, l).

    A modality that owns nothing in either row has none and is left out.
    """
    pairs = itertools.combinations(owners, 2)
    return _mean([_overlap(a, b, m) for a, b in pairs for m in range(modalities) if m in (*a, *b)])


def _overlap(one: Owners, other: Owners, modality: int) -> float:
    mine, theirs = one == modality, other == modality
    return float((mine & theirs).sum() / (mine | theirs).sum())


def _ownership(arm: Arm, owners: Owners) -> LabelOwnership:
    overlap = jaccard_similarity(owners, len(arm.names))
    return LabelOwnership(arm, arm.names, owners, owner_agreement(owners), overlap)


def _recorded(results: Sequence[TrialResult]) -> Owners:
    return np.array([result.owners for result in results if result.owners], dtype=np.int64)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


FEWEST = 3
"""Labels that a slope and its interval need at least."""


@dataclass(frozen=True)
class SparseGain:
    """Where the gain of one contrast lies.

    Attributes
    ----------
    contrast : Contrast
    labels : tuple of LabelGain, (l,)
        In the order of the table.
    fifths : tuple of FifthGain, (k,)
        Densest first; fewer than five where there are fewer labels.
    slope : DensitySlope
    null : NullRibbon or None
        What the reference gains against itself under other seeds; None with one seed.
    oracle : tuple of float, (k,)
        Gain by fifth that would be claimed by giving each label to the better of two seeds of
        the reference as judged on the test folds; empty with one seed.
    """

    contrast: Contrast
    labels: tuple[LabelGain, ...]
    fifths: tuple[FifthGain, ...]
    slope: DensitySlope
    null: NullRibbon | None
    oracle: tuple[float, ...]


def estimate_sparse_gain(evidence: StudyAnalysis, contrast: Contrast) -> SparseGain:
    """Locate the gain of a contrast in the labels.

    The slope is that of a regression of the gains on log2(positives), weighted by 1 / SE^2. It
    is linear in the gains, so that its interval comes from the same molecules as theirs: labels
    share molecules, and a regression that takes them as independent would not know.

    Parameters
    ----------
    evidence : StudyAnalysis
    contrast : Contrast
        With trials that both sides have finished.
    """
    sides = _Sides(evidence, *evidence.pair(contrast))
    fifths = tuple(sides.fifth(k) for k in range(sides.fifths))
    weights = [evidence.fifth_weights(k) for k in range(sides.fifths)]
    slope_weights = sides.slope_weights()
    return SparseGain(
        contrast=contrast,
        labels=sides.labels(),
        fifths=fifths,
        slope=sides.slope(slope_weights),
        null=estimate_null_ribbon(sides.reference, weights, slope_weights),
        oracle=estimate_oracle_gains(sides.reference, weights),
    )


@dataclass(frozen=True, eq=False)
class _Sides:
    """Both arms of a contrast over the trials they share."""

    evidence: StudyAnalysis
    arm: ArmScores
    reference: ArmScores

    @property
    def positives(self) -> Floats:
        return self.evidence.record.data.dataset.positives.astype(np.float64)

    @property
    def fifths(self) -> int:
        return 1 + int(self.evidence.fifths.max())

    @cached_property
    def singles(self) -> list[PairedDifference]:
        """Difference on every label alone."""
        return [self.compare(one) for one in np.eye(len(self.positives))]

    def compare(self, weights: Floats) -> PairedDifference:
        return estimate_difference(self.arm, self.reference, self.evidence.groups, weights)

    def labels(self) -> tuple[LabelGain, ...]:
        names = self.evidence.record.data.dataset.label_names
        q = control_false_discoveries([single.p for single in self.singles])
        return tuple(self._label(i, name, q[i]) for i, name in enumerate(names))

    def _label(self, column: int, name: str, q: float) -> LabelGain:
        found = self.singles[column]
        means = [float(side.auroc[:, column].mean()) for side in (self.arm, self.reference)]
        precision = self.arm.average_precision - self.reference.average_precision
        return LabelGain(
            name=name,
            positives=int(self.positives[column]),
            fifth=int(self.evidence.fifths[column]),
            auroc_arm=means[0],
            auroc_reference=means[1],
            gain=found.estimate,
            se=found.se,
            low=found.low,
            high=found.high,
            p=found.p,
            q=q,
            headroom=_headroom(found.estimate, means[1]),
            ap_gain=float(precision[:, column].mean()),
        )

    def fifth(self, fifth: int) -> FifthGain:
        weights, members = self.evidence.fifth_weights(fifth), self.evidence.fifths == fifth
        found = self.compare(weights)
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
            difference=found,
            ap_gain=float(np.mean([macro_mean(trial, members).value for trial in precision])),
            headroom=_headroom(found.estimate, levels[1]),
        )

    def slope_weights(self) -> Floats:
        """Weights of the gains in the slope, (l,); zeros where there is none."""
        errors = np.array([single.se for single in self.singles])
        return slope_weights(self.positives, errors)

    def slope(self, weights: Floats) -> DensitySlope:
        if not weights.any():
            return DensitySlope(*[float("nan")] * 5)
        found = self.compare(weights)
        return DensitySlope(found.estimate, found.se, found.low, found.high, found.p)


def slope_weights(positives: Floats, errors: Floats) -> Floats:
    """Return the weights by which gains make the slope of their weighted regression, (l,).

    ``w_l (x_l - m) / sum of w (x - m)^2`` with x = log2(positives), w = 1 / SE^2 and m the
    weighted mean of x. A label without a standard error, or with 0, has weight 0.

    Returns
    -------
    ndarray of float64, (l,)
        All zeros where fewer than three labels are left, or all have the same density.
    """
    used = np.isfinite(errors) & (errors > 0)
    weights = np.zeros(len(errors))
    if used.sum() < FEWEST or len(np.unique(positives[used])) < 2:
        return weights
    x, w = np.log2(positives[used]), 1 / errors[used] ** 2
    away = x - np.average(x, weights=w)
    weights[used] = w * away / (w @ away**2)
    return weights


def _headroom(gain: float, reference: float) -> float:
    return gain / (1 - reference) if reference < 1 else float("nan")


__all__ = [
    "DensitySlope",
    "FifthGain",
    "LabelGain",
    "NullRibbon",
    "SparseGain",
    "estimate_sparse_gain",
]
