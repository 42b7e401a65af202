"""Factors in which the arms of a study differ, and the largest balanced part of their grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.planning.trials import Arm

Levels = tuple[str, ...]
"""One level per factor."""


def format_head(arm: Arm, axes: Sequence[str] = ()) -> str:
    """Return technique, operator, partition and the training options named by `axes`."""
    names = [arm.technique, *(str(part) for part in (arm.fusion, arm.partition) if part)]
    return " / ".join([*names, *(f"{axis}={format_training_value(arm, axis)}" for axis in axes)])


def format_arm(arm: Arm, axes: Sequence[str] = ()) -> str:
    """Return the modalities and the head of an arm as text, without its fraction."""
    return f"{format_feature_set(arm)} / {format_head(arm, axes)}"


def format_feature_set(arm: Arm) -> str:
    """Return the modalities of an arm, joined by a plus sign."""
    return "+".join(arm.names)


def find_training_axes(arms: Iterable[Arm]) -> tuple[str, ...]:
    """Return the names of the requested training options in which the arms differ."""
    trainings = {arm.comparable_training for arm in arms}
    first = next(iter(trainings), None)
    names = type(first).model_fields if first else ()
    return tuple(n for n in names if len({getattr(t, n) for t in trainings}) > 1)


def format_training_value(arm: Arm, axis: str) -> str:
    """Return the requested value of a training option as text."""
    return str(getattr(arm.comparable_training, axis))


@dataclass(frozen=True)
class FactorGrid:
    """Arms by the levels of their factors.

    Attributes
    ----------
    factors : tuple of str
        Factors with at least two levels: ``features``, ``head`` (technique, operator and
        partition), ``fraction``, ``training.<name>``.
    levels : tuple of tuple of str
        Levels of each factor: fractions ascending, the others in the order of the study file.
    arms : mapping of levels to Arm
    """

    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    arms: Mapping[Levels, Arm]

    @property
    def slots(self) -> int:
        """Number of combinations of levels, with or without an arm."""
        return math.prod(len(levels) for levels in self.levels)

    @property
    def full(self) -> bool:
        """Whether every combination of levels has an arm."""
        return len(self.arms) == self.slots

    def find_largest_full(self) -> FactorGrid:
        """Return a full part of the grid by removing the emptiest level until no gap is left."""
        grid = self
        while not grid.full:
            axis, level = grid._find_emptiest_level()
            grid = grid.restrict_to(
                {key: arm for key, arm in grid.arms.items() if key[axis] != level}
            )
        return grid

    def _find_emptiest_level(self) -> tuple[int, str]:
        levels_by_axis = [
            (axis, level) for axis, levels in enumerate(self.levels) for level in levels
        ]
        return min(levels_by_axis, key=lambda axis_level: self._filled_share(*axis_level))

    def _filled_share(self, axis: int, level: str) -> tuple[float, int]:
        """Return the share of a level's combinations that have an arm, and their number."""
        arms = sum(key[axis] == level for key in self.arms)
        return arms * len(self.levels[axis]) / self.slots, arms

    def restrict_to(self, arms: Mapping[Levels, Arm]) -> FactorGrid:
        """Return the grid of some of the arms with their levels and the same factors."""
        levels = tuple(
            tuple(x for x in old if any(key[i] == x for key in arms))
            for i, old in enumerate(self.levels)
        )
        return FactorGrid(self.factors, levels, arms)


def build_factor_grid(arms: Sequence[Arm]) -> FactorGrid:
    """Arrange arms by the factors in which they differ.

    Parameters
    ----------
    arms : sequence of Arm
        Distinct arms, at least one.
    """
    axes = find_training_axes(arms)
    by_factor = [_levels_by_factor(arm, axes) for arm in arms]
    all_levels = {
        factor: tuple(dict.fromkeys(levels[factor] for levels in by_factor))
        for factor in by_factor[0]
    }
    all_levels["fraction"] = tuple(sorted(all_levels["fraction"], key=float))
    factors = tuple(factor for factor, levels in all_levels.items() if len(levels) > 1)
    keys = [tuple(levels[factor] for factor in factors) for levels in by_factor]
    levels = tuple(all_levels[factor] for factor in factors)
    return FactorGrid(factors, levels, dict(zip(keys, arms, strict=True)))


def list_combinations(grid: FactorGrid) -> list[Levels]:
    """Return every combination of levels, the last factor fastest."""
    return list(itertools.product(*grid.levels))


def _levels_by_factor(arm: Arm, axes: Sequence[str]) -> dict[str, str]:
    first = {"features": format_feature_set(arm), "head": format_head(arm)}
    last = {f"training.{axis}": format_training_value(arm, axis) for axis in axes}
    return {**first, "fraction": f"{arm.fraction:g}", **last}
