"""The factors of a study's arms, and the largest part of its grid that is balanced."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.planning.trials import Arm

Levels = tuple[str, ...]
"""A level of every factor."""


def format_head(arm: Arm, axes: Sequence[str] = ()) -> str:
    """Return technique, operator and partition, and the training numbers that vary."""
    words = [arm.technique, *(str(word) for word in (arm.fusion, arm.partition) if word)]
    return " / ".join([*words, *(f"{axis}={number(arm, axis)}" for axis in axes)])


def format_arm(arm: Arm, axes: Sequence[str] = ()) -> str:
    """Return an arm in words, without its fraction."""
    return f"{feature_set(arm)} / {format_head(arm, axes)}"


def feature_set(arm: Arm) -> str:
    """Return the modalities of an arm, joined by a plus."""
    return "+".join(arm.names)


def training_axes(arms: Iterable[Arm]) -> tuple[str, ...]:
    """Return the training numbers that arms were asked for and in which they differ."""
    trainings = {arm.shared for arm in arms}
    first = next(iter(trainings), None)
    names = type(first).model_fields if first else ()
    return tuple(n for n in names if len({getattr(t, n) for t in trainings}) > 1)


def number(arm: Arm, axis: str) -> str:
    """Return a training number that an arm was asked for as text."""
    return str(getattr(arm.shared, axis))


@dataclass(frozen=True)
class FactorGrid:
    """Arms by the levels of their factors.

    Attributes
    ----------
    factors : tuple of str
        Those with at least two levels: ``features``, ``head`` (technique, operator and
        partition), ``fraction``, ``training.<name>``.
    levels : tuple of tuple of str
        Of each factor: fractions rising, the others in the order of the file.
    arms : mapping of levels to Arm
    """

    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    arms: Mapping[Levels, Arm]

    @property
    def slots(self) -> int:
        """Combinations of levels, with an arm or without."""
        return math.prod(len(levels) for levels in self.levels)

    @property
    def full(self) -> bool:
        """Whether every combination of levels has an arm."""
        return len(self.arms) == self.slots

    def largest_full(self) -> FactorGrid:
        """Return a full part: the level with the smallest share of its arms goes, one by one."""
        grid = self
        while not grid.full:
            axis, level = grid._emptiest()
            grid = grid.over({key: arm for key, arm in grid.arms.items() if key[axis] != level})
        return grid

    def _emptiest(self) -> tuple[int, str]:
        places = [(axis, level) for axis, levels in enumerate(self.levels) for level in levels]
        return min(places, key=lambda place: self._filled(*place))

    def _filled(self, axis: int, level: str) -> tuple[float, int]:
        """Share of a level's combinations that have an arm, and their number."""
        arms = sum(key[axis] == level for key in self.arms)
        return arms * len(self.levels[axis]) / self.slots, arms

    def over(self, arms: Mapping[Levels, Arm]) -> FactorGrid:
        """Return the grid of some of the arms, with the levels that they have; factors stay."""
        levels = tuple(
            tuple(x for x in old if any(key[i] == x for key in arms))
            for i, old in enumerate(self.levels)
        )
        return FactorGrid(self.factors, levels, arms)


def build_factor_grid(arms: Sequence[Arm]) -> FactorGrid:
    """Return arms by the factors in which they differ.

    Parameters
    ----------
    arms : sequence of Arm
        Distinct, at least one.
    """
    axes = training_axes(arms)
    named = [_levels(arm, axes) for arm in arms]
    every = {factor: tuple(dict.fromkeys(each[factor] for each in named)) for factor in named[0]}
    every["fraction"] = tuple(sorted(every["fraction"], key=float))
    factors = tuple(factor for factor, levels in every.items() if len(levels) > 1)
    keys = [tuple(each[factor] for factor in factors) for each in named]
    levels = tuple(every[factor] for factor in factors)
    return FactorGrid(factors, levels, dict(zip(keys, arms, strict=True)))


def combinations(grid: FactorGrid) -> list[Levels]:
    """Return every combination of levels, the last factor fastest."""
    return list(itertools.product(*grid.levels))


def _levels(arm: Arm, axes: Sequence[str]) -> dict[str, str]:
    first = {"features": feature_set(arm), "head": format_head(arm)}
    last = {f"training.{axis}": number(arm, axis) for axis in axes}
    return {**first, "fraction": f"{arm.fraction:g}", **last}
