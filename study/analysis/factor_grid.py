"""The factors of a study's arms, and the largest part of its grid that is balanced."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.planning.trials import Arm

Levels = tuple[str, ...]
"""A level of every factor."""


def format_head(cell: Arm, axes: Sequence[str] = ()) -> str:
    """Return technique, operator and partition, and the training numbers that vary."""
    words = [cell.technique, *(str(word) for word in (cell.fusion, cell.partition) if word)]
    return " / ".join([*words, *(f"{axis}={number(cell, axis)}" for axis in axes)])


def format_arm(cell: Arm, axes: Sequence[str] = ()) -> str:
    """Return an arm in words, without its fraction."""
    return f"{feature_set(cell)} / {format_head(cell, axes)}"


def feature_set(cell: Arm) -> str:
    """Return the modalities of an arm, joined by a plus."""
    return "+".join(cell.names)


def training_axes(cells: Iterable[Arm]) -> tuple[str, ...]:
    """Return the training numbers that cells were asked for and in which they differ."""
    trainings = {cell.shared for cell in cells}
    first = next(iter(trainings), None)
    names = type(first).model_fields if first else ()
    return tuple(n for n in names if len({getattr(t, n) for t in trainings}) > 1)


def number(cell: Arm, axis: str) -> str:
    """Return a training number that a cell was asked for as text."""
    return str(getattr(cell.shared, axis))


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
    cells : mapping of levels to Arm
    """

    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    cells: Mapping[Levels, Arm]

    @property
    def slots(self) -> int:
        """Combinations of levels, with an arm or without."""
        return math.prod(len(levels) for levels in self.levels)

    @property
    def full(self) -> bool:
        """Whether every combination of levels has an arm."""
        return len(self.cells) == self.slots

    def largest_full(self) -> FactorGrid:
        """Return a full part: the level with the smallest share of its arms goes, one by one."""
        grid = self
        while not grid.full:
            axis, level = grid._emptiest()
            grid = grid.over({key: cell for key, cell in grid.cells.items() if key[axis] != level})
        return grid

    def _emptiest(self) -> tuple[int, str]:
        places = [(axis, level) for axis, levels in enumerate(self.levels) for level in levels]
        return min(places, key=lambda place: self._filled(*place))

    def _filled(self, axis: int, level: str) -> tuple[float, int]:
        """Share of a level's combinations that have an arm, and their number."""
        arms = sum(key[axis] == level for key in self.cells)
        return arms * len(self.levels[axis]) / self.slots, arms

    def over(self, cells: Mapping[Levels, Arm]) -> FactorGrid:
        """Return the grid of some of the arms, with the levels that they have; factors stay."""
        levels = tuple(
            tuple(x for x in old if any(key[i] == x for key in cells))
            for i, old in enumerate(self.levels)
        )
        return FactorGrid(self.factors, levels, cells)


def build_factor_grid(cells: Sequence[Arm]) -> FactorGrid:
    """Return cells by the factors in which they differ.

    Parameters
    ----------
    cells : sequence of Arm
        Distinct, at least one.
    """
    axes = training_axes(cells)
    named = [_levels(cell, axes) for cell in cells]
    every = {factor: tuple(dict.fromkeys(each[factor] for each in named)) for factor in named[0]}
    every["fraction"] = tuple(sorted(every["fraction"], key=float))
    factors = tuple(factor for factor, levels in every.items() if len(levels) > 1)
    keys = [tuple(each[factor] for factor in factors) for each in named]
    levels = tuple(every[factor] for factor in factors)
    return FactorGrid(factors, levels, dict(zip(keys, cells, strict=True)))


def combinations(grid: FactorGrid) -> list[Levels]:
    """Return every combination of levels, the last factor fastest."""
    return list(itertools.product(*grid.levels))


def _levels(cell: Arm, axes: Sequence[str]) -> dict[str, str]:
    first = {"features": feature_set(cell), "head": format_head(cell)}
    last = {f"training.{axis}": number(cell, axis) for axis in axes}
    return {**first, "fraction": f"{cell.fraction:g}", **last}
