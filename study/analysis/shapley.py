"""Value of each modality: exact Shapley values, add-one and leave-one-out gains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from study.analysis.arm_scores import ArmScores
from study.analysis.bootstrap import finished_arms, select_common_trials
from study.analysis.factor_grid import find_training_axes, format_feature_set, format_head
from study.analysis.paired import PairedDifference, estimate_difference
from study.analysis.study_analysis import StudyAnalysis
from study.config.training import TrainingConfig
from study.planning.trials import Arm

Kind = Literal["add one", "leave one"]
CHANCE = 0.5
"""AUROC without any modality."""


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
        Part of AUROC - 0.5 with its 95 % interval; the values of a set add up to its AUROC - 0.5.
    features : str
        The set of modalities whose AUROC is divided.
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
    """Gain from adding one modality to an arm.

    Attributes
    ----------
    modality : str
    features : str
        The other modalities of the arm.
    technique : str
    fraction : float
    kind : {'add one', 'leave one'}
        ``add one``: added to a single modality; ``leave one``: left out of a set of at least three
        that is not part of a larger set.
    difference : PairedDifference
        AUROC with minus AUROC without the modality.
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
    """Arms with the same head, fraction and training, by their set of modalities.

    Arms of a single modality belong to every family with their fraction and training.
    """

    technique: str
    fraction: float
    arms: Mapping[Set, Arm]

    def largest(self) -> list[Set]:
        """Return the sets of several modalities that are not part of a larger one."""
        several = [keys for keys in self.arms if len(keys) > 1]
        return [keys for keys in several if not any(keys < other for other in several)]

    def shareable(self) -> list[Set]:
        """Return the largest sets of several modalities whose subsets all have an arm."""
        closed = [keys for keys in self.arms if len(keys) > 1 and self._is_closed(keys)]
        return [keys for keys in closed if not any(keys < other for other in closed)]

    def _is_closed(self, keys: Set) -> bool:
        return all(part in self.arms for part in _list_subsets(keys))


def compute_shapley_values(analysis: StudyAnalysis) -> tuple[ModalityWorth, ...]:
    """Return the Shapley value of each modality of every set whose subsets all have an arm.

    Values are exact, over all subsets (Shapley 1953), for each technique and fraction. A value is a
    weighted sum of AUROCs of arms, and the influence of a molecule on it is the same weighted sum,
    so the interval is that of a paired difference between the arms with and without the modality.
    """
    sets = ((f, keys) for f in _group_arms(analysis) for keys in f.shareable())
    return tuple(
        worth for family, keys in sets for worth in _compute_values(analysis, family, keys)
    )


def estimate_modality_gains(analysis: StudyAnalysis) -> tuple[ModalityGain, ...]:
    """Return the gain of every modality added to one other, or left out of the largest sets.

    For an arm that averages one model per modality, part of the gain is an ensemble effect.
    """
    return tuple(gain for family in _group_arms(analysis) for gain in _list_gains(analysis, family))


def _group_arms(analysis: StudyAnalysis) -> list[_Family]:
    arms = finished_arms(analysis)
    axes = find_training_axes(arms)
    families: dict[tuple[str, float, TrainingConfig], dict[Set, Arm]] = {}
    for arm in (arm for arm in arms if len(arm.features) > 1):
        key = (format_head(arm, axes), arm.fraction, arm.comparable_training)
        families.setdefault(key, {})[_get_modality_keys(arm)] = arm
    for arm in (arm for arm in arms if len(arm.features) == 1):
        for (_, fraction, training), members in families.items():
            if (fraction, training) == (arm.fraction, arm.comparable_training):
                members[_get_modality_keys(arm)] = arm
    return [_Family(name, fraction, members) for (name, fraction, _), members in families.items()]


def _compute_values(analysis: StudyAnalysis, family: _Family, keys: Set) -> Iterator[ModalityWorth]:
    parts = list(_list_subsets(keys))
    arms = select_common_trials(analysis, [family.arms[part] for part in parts])
    if not arms:
        return
    by_set = dict(zip(parts, arms, strict=True))
    whole, size = family.arms[keys], len(keys)
    for feature in whole.features:
        with_it = {s: compute_shapley_weight(len(s) - 1, size) for s in parts if feature.key in s}
        without = {s: compute_shapley_weight(len(s), size) for s in parts if feature.key not in s}
        empty_set = CHANCE * compute_shapley_weight(0, size)
        arm, reference = (
            _weighted_sum(by_set, with_it, 0.0),
            _weighted_sum(by_set, without, empty_set),
        )
        difference = estimate_difference(arm, reference, analysis.groups, analysis.weights)
        yield ModalityWorth(
            feature.name,
            family.technique,
            family.fraction,
            difference.estimate,
            difference.low,
            difference.high,
            format_feature_set(whole),
        )


def compute_shapley_weight(others: int, size: int) -> float:
    """Return the Shapley weight of a coalition of `others` players in a game of `size` players."""
    return 1 / (size * math.comb(size - 1, others))


def _weighted_sum(
    arms: Mapping[Set, ArmScores], weights: Mapping[Set, float], constant: float
) -> ArmScores:
    """Return the weighted sum of the scores of arms with the same trials, plus a constant."""
    first = next(iter(arms.values()))
    auroc = np.full_like(first.auroc, constant)
    influence = np.zeros_like(first.influence)
    for key, weight in weights.items():
        auroc += weight * arms[key].auroc
        influence += np.float32(weight) * arms[key].influence
    return replace(first, auroc=auroc, influence=influence)


def _list_gains(analysis: StudyAnalysis, family: _Family) -> Iterator[ModalityGain]:
    pairs = [keys for keys in family.arms if len(keys) == 2]
    largest = [keys for keys in family.largest() if len(keys) > 2]
    for keys in pairs:
        yield from _estimate_gains(analysis, family, keys, "add one")
    for keys in largest:
        yield from _estimate_gains(analysis, family, keys, "leave one")


def _estimate_gains(
    analysis: StudyAnalysis, family: _Family, keys: Set, kind: Kind
) -> Iterator[ModalityGain]:
    arm = family.arms[keys]
    for feature in arm.features:
        fewer = family.arms.get(keys - {feature.key})
        arms = select_common_trials(analysis, [arm, fewer]) if fewer else []
        if fewer and arms:
            difference = estimate_difference(arms[0], arms[1], analysis.groups, analysis.weights)
            others = format_feature_set(fewer)
            yield ModalityGain(
                feature.name, others, family.technique, family.fraction, kind, difference
            )


def _get_modality_keys(arm: Arm) -> Set:
    return frozenset(feature.key for feature in arm.features)


def _list_subsets(keys: Set) -> Iterator[Set]:
    """Yield the non-empty subsets, small ones first."""
    ordered = sorted(keys)
    for size in range(1, len(ordered) + 1):
        yield from map(frozenset, itertools.combinations(ordered, size))
