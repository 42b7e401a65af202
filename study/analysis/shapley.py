"""What each modality is worth: exact Shapley values, add-one and leave-one gains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from study.analysis.arm_scores import ArmScores
from study.analysis.bootstrap import common_arms, finished_arms
from study.analysis.factor_grid import feature_set, format_head, training_axes
from study.analysis.paired import PairedDifference, estimate_difference
from study.analysis.study_analysis import StudyAnalysis
from study.config.training import TrainingConfig
from study.planning.trials import Arm

Kind = Literal["add one", "leave one"]
NOTHING = 0.5
"""AUROC of no modality at all."""


@dataclass(frozen=True)
class ModalityWorth:
    """Shapley value of a modality: its mean gain over all orders of adding modalities.

    Attributes
    ----------
    modality : str
    technique : str
        Technique, operator and partition of the arms with several modalities.
    fraction : float
    value, low, high : float
        AUROC above 0.5, with its 95 % interval; the values of a set add up to its AUROC - 0.5.
    features : str
        The set that is shared out.
    """

    modality: str
    technique: str
    fraction: float
    value: float
    low: float
    high: float
    features: str


@dataclass(frozen=True)
class ModalityGain:
    """What one modality adds.

    Attributes
    ----------
    modality : str
    features : str
        The modalities that are there besides it.
    technique : str
    fraction : float
    kind : {'add one', 'leave one'}
        ``add one``: to a single modality; ``leave one``: lost when it is left out of a set of
        three or more that is part of no larger one.
    difference : PairedDifference
        AUROC with the modality minus AUROC without it.
    """

    modality: str
    features: str
    technique: str
    fraction: float
    kind: Kind
    difference: PairedDifference


Set = frozenset[str]
"""Keys of the modalities of an arm."""


@dataclass(frozen=True)
class _Family:
    """Arms of one technique, operator and partition, fraction and training, by modalities.

    Single modalities belong to every family of their fraction and training.
    """

    technique: str
    fraction: float
    arms: Mapping[Set, Arm]

    def largest(self) -> list[Set]:
        """Return the sets of several modalities that are part of no larger one."""
        several = [each for each in self.arms if len(each) > 1]
        return [each for each in several if not any(each < other for other in several)]

    def shareable(self) -> list[Set]:
        """Return the largest sets of several modalities whose subsets all have an arm."""
        whole = [each for each in self.arms if len(each) > 1 and self._closed(each)]
        return [each for each in whole if not any(each < other for other in whole)]

    def _closed(self, keys: Set) -> bool:
        return all(part in self.arms for part in _parts(keys))


def shapley_values(evidence: StudyAnalysis) -> tuple[ModalityWorth, ...]:
    """Return the Shapley value of each modality of every set whose subsets all have an arm.

    Exact, over all subsets (Shapley 1953), for each technique and fraction. A value is a weighted
    sum of the AUROC of arms, and so is the pull of every molecule on it: the interval is that of
    a paired difference between the arms with the modality and those without.
    """
    found = ((f, keys) for f in _families(evidence) for keys in f.shareable())
    return tuple(worth for family, keys in found for worth in _worths(evidence, family, keys))


def estimate_modality_gains(evidence: StudyAnalysis) -> tuple[ModalityGain, ...]:
    """Return the gain of every modality, added to one other and left out of the largest sets.

    An arm that averages a model for each modality is an ensemble: a part of its gain is that.
    """
    return tuple(gain for family in _families(evidence) for gain in _gains(evidence, family))


def _families(evidence: StudyAnalysis) -> list[_Family]:
    arms = finished_arms(evidence)
    axes = training_axes(arms)
    found: dict[tuple[str, float, TrainingConfig], dict[Set, Arm]] = {}
    for arm in (arm for arm in arms if len(arm.features) > 1):
        key = (format_head(arm, axes), arm.fraction, arm.shared)
        found.setdefault(key, {})[_keys(arm)] = arm
    for arm in (arm for arm in arms if len(arm.features) == 1):
        for (_, fraction, training), members in found.items():
            if (fraction, training) == (arm.fraction, arm.shared):
                members[_keys(arm)] = arm
    return [
        _Family(name, fraction, all_scores) for (name, fraction, _), all_scores in found.items()
    ]


def _worths(evidence: StudyAnalysis, family: _Family, keys: Set) -> Iterator[ModalityWorth]:
    parts = list(_parts(keys))
    arms = common_arms(evidence, [family.arms[part] for part in parts])
    if not arms:
        return
    by_set = dict(zip(parts, arms, strict=True))
    whole, size = family.arms[keys], len(keys)
    for feature in whole.features:
        given = {s: shapley_weight(len(s) - 1, size) for s in parts if feature.key in s}
        without = {s: shapley_weight(len(s), size) for s in parts if feature.key not in s}
        low_end = NOTHING * shapley_weight(0, size)
        arm, reference = _blend(by_set, given, 0.0), _blend(by_set, without, low_end)
        found = estimate_difference(arm, reference, evidence.groups, evidence.weights)
        yield ModalityWorth(
            feature.name,
            family.technique,
            family.fraction,
            found.estimate,
            found.low,
            found.high,
            feature_set(whole),
        )


def shapley_weight(others: int, size: int) -> float:
    """Return the share of the orders of `size` players in which these `others` come before one."""
    return 1 / (size * math.comb(size - 1, others))


def _blend(
    arms: Mapping[Set, ArmScores], weights: Mapping[Set, float], constant: float
) -> ArmScores:
    """Weighted sum of arms with the same trials, plus a constant: AUROC and influence."""
    one = next(iter(arms.values()))
    auroc = np.full_like(one.auroc, constant)
    influence = np.zeros_like(one.influence)
    for key, weight in weights.items():
        auroc += weight * arms[key].auroc
        influence += np.float32(weight) * arms[key].influence
    return replace(one, auroc=auroc, influence=influence)


def _gains(evidence: StudyAnalysis, family: _Family) -> Iterator[ModalityGain]:
    pairs = [keys for keys in family.arms if len(keys) == 2]
    wide = [keys for keys in family.largest() if len(keys) > 2]
    for keys in pairs:
        yield from _gains_of(evidence, family, keys, "add one")
    for keys in wide:
        yield from _gains_of(evidence, family, keys, "leave one")


def _gains_of(
    evidence: StudyAnalysis, family: _Family, keys: Set, kind: Kind
) -> Iterator[ModalityGain]:
    arm = family.arms[keys]
    for feature in arm.features:
        fewer = family.arms.get(keys - {feature.key})
        arms = common_arms(evidence, [arm, fewer]) if fewer else []
        if fewer and arms:
            difference = estimate_difference(arms[0], arms[1], evidence.groups, evidence.weights)
            there = feature_set(fewer)
            yield ModalityGain(
                feature.name, there, family.technique, family.fraction, kind, difference
            )


def _keys(arm: Arm) -> Set:
    return frozenset(feature.key for feature in arm.features)


def _parts(keys: Set) -> Iterator[Set]:
    """Every subset that is not empty, small ones first."""
    ordered = sorted(keys)
    for size in range(1, len(ordered) + 1):
        yield from map(frozenset, itertools.combinations(ordered, size))
