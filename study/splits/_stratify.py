"""Iterative stratification of grouped rows over parts of any size.

Greedy assignment by the rarest label (Sechidis, Tsoumakas & Vlahavas 2011, ECML PKDD, algorithm
1) with groups instead of rows as units, followed by a repair by exchanges (`_repair`). One
routine deals k equal folds and draws unequal fractions.

Shapes: n rows, u units (groups), l labels, k parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError
from study.splits._feasible import check_feasible, shortfall_message
from study.splits._repair import Balance, repair

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

_ATTEMPTS = 5
"""Starts, each with new random order, before a minimum counts as out of reach."""
_SLACK = 0.01
"""A part may grow beyond its target by this share (and by one row) before it is passed over."""


@dataclass(frozen=True, eq=False)
class Units:
    """Groups of rows, the things that are dealt.

    Attributes
    ----------
    counts : ndarray of float64, (u, l)
        Positives of each label in each unit.
    sizes : ndarray of float64, (u,)
        Rows of each unit.
    unit_of : ndarray of int64, (n,)
        Unit of each row.
    """

    counts: Floats
    sizes: Floats
    unit_of: Rows

    @classmethod
    def gather(cls, labels: NDArray[np.uint8], groups: Rows) -> Units:
        """Sum labels (n, l) over rows of equal group (n,)."""
        names, unit_of = np.unique(groups, return_inverse=True)
        counts = np.zeros((len(names), labels.shape[1]))
        np.add.at(counts, unit_of, labels)
        return cls(counts, np.bincount(unit_of).astype(np.float64), unit_of)


def stratify(
    labels: NDArray[np.uint8],
    groups: Rows,
    shares: Sequence[float],
    rng: np.random.Generator,
    *,
    minimum: int = 0,
    label_names: Sequence[str] | None = None,
) -> Rows:
    """Deal rows to parts so that every part has its share of every label and of the rows.

    Parameters
    ----------
    labels : ndarray of uint8, (n, l)
    groups : ndarray of int64, (n,)
        Rows of one group stay together.
    shares : sequence of float, (k,)
        Share of the rows that each part should get; they sum to 1.
    rng : numpy Generator
        Breaks ties and sets the order of dealing.
    minimum : int
        Positives every label must have in every part.
    label_names : sequence of str, (l,), optional
        For the message; without them labels are named by column.

    Returns
    -------
    ndarray of int64, (n,)
        Part of each row.

    Raises
    ------
    InputError
        A label cannot have `minimum` positives in every part.
    """
    units = Units.gather(labels, groups)
    check_feasible(units.counts, len(shares), minimum, label_names)
    if len(units.sizes) == 0:
        return np.zeros(0, dtype=np.int64)
    for _ in range(_ATTEMPTS):
        part = _deal(units, np.asarray(shares, dtype=np.float64), rng)
        balance = Balance.of(units.counts, units.sizes, np.asarray(shares, dtype=np.float64), part)
        if repair(balance, minimum):
            return balance.part[units.unit_of]
    raise InputError(shortfall_message(units.counts, balance, minimum, label_names))


def _deal(units: Units, shares: Floats, rng: np.random.Generator) -> Rows:
    """Assign every unit (u,): the rarest open label first, to the part that lacks it most."""
    left = units.counts.sum(axis=0)
    wanted = np.outer(shares, left)  # (k, l)
    room = shares * units.sizes.sum()  # (k,)
    slack = 1 + _SLACK * room
    part = np.full(len(units.sizes), -1, dtype=np.int64)
    order = np.lexsort((rng.permutation(len(part)), -units.sizes))  # large units first
    noise = rng.random((len(part), len(shares)))
    while np.any(left > 0):
        label = int(np.where(left > 0, left, np.inf).argmin())
        for unit in order[(part[order] < 0) & (units.counts[order, label] > 0)]:
            need, size = wanted[:, label].tolist(), units.sizes[unit]
            chosen = _neediest(need, room, room + slack >= size, noise[unit])
            part[unit] = chosen
            wanted[chosen] -= units.counts[unit]
            left -= units.counts[unit]
            room[chosen] -= size
    for unit in order[part[order] < 0]:  # units without any label fill up the rows
        part[unit] = room.argmax()
        room[part[unit]] -= units.sizes[unit]
    return part


def _neediest(need: list[float], room: Floats, fits: NDArray[np.bool_], noise: Floats) -> int:
    """Return the part that lacks most of a label; ties go to the emptier part, then by chance.

    The cap on rows is soft: a full part is passed over only while one that is not full still
    needs the label. A hard cap starves the last part of a rare label.
    """
    parts = [j for j in range(len(need)) if fits[j] and need[j] > 0] or range(len(need))
    return max(parts, key=lambda j: (need[j], room[j], noise[j]))
