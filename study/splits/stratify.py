"""Iterative stratification of groups with many labels, and the repair of rare ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

_SHORTLIST = 24
"""Units of each side that are tried against each other in one exchange."""
_ROW_WEIGHT = 4.0
"""Weight of a row against a positive: folds of single molecules come out equal within one."""
_GAIN = 0.01
"""Least fall of the cost that counts, well above the rounding of `_coarse`."""
_ROUNDS = 12
"""Rounds of doubling the weight of labels below the minimum."""
_SWEEPS = 200
"""Bound on sweeps over all pairs of parts in one descent."""


@dataclass(eq=False)
class LabelBalance:
    """An assignment under repair.

    Attributes
    ----------
    table : ndarray of float64, (u, c)
        Positives and, in the last column, rows of each unit.
    want : ndarray of float64, (k, c)
        Expected positives and rows of each part.
    have : ndarray of float64, (k, c)
        The same as assigned now.
    part : ndarray of int64, (u,)
    """

    table: Floats
    want: Floats
    have: Floats
    part: Rows

    @classmethod
    def of(cls, counts: Floats, sizes: Floats, shares: Floats, part: Rows) -> LabelBalance:
        """Measure an assignment of units (u,) against shares (k,)."""
        table = np.column_stack([counts, sizes])
        have = np.stack([table[part == j].sum(axis=0) for j in range(len(shares))])
        return cls(table, np.outer(shares, table.sum(axis=0)), have, part)

    def short(self, minimum: int) -> NDArray[np.bool_]:
        """Labels with less than the minimum in some part, (l,)."""
        lowest: Floats = self.have[:, :-1].min(axis=0)
        return lowest < minimum

    def move(self, unit: int, target: int) -> None:
        """Put a unit into another part."""
        self.have[self.part[unit]] -= self.table[unit]
        self.have[target] += self.table[unit]
        self.part[unit] = target


def repair_folds(balance: LabelBalance, minimum: int) -> bool:
    """Lower the cost until no exchange helps; then weigh up labels below the minimum.

    Returns
    -------
    bool
        Whether every label has the minimum in every part.
    """
    weight = np.ones(balance.table.shape[1])
    weight[-1] = _ROW_WEIGHT
    for _ in range(_ROUNDS):
        _descend(balance, weight)
        short = balance.short(minimum)
        if not short.any():
            return True
        weight[:-1][short] *= 2
    return False


def _descend(balance: LabelBalance, weight: Floats) -> None:
    pairs = list(itertools.combinations(range(len(balance.want)), 2))
    for _ in range(_SWEEPS):
        if not sum(_exchange(balance, weight, a, b) for a, b in pairs):
            return


def _exchange(balance: LabelBalance, weight: Floats, a: int, b: int) -> bool:
    """Make the best exchange between two parts; say whether one lowered the cost."""
    residual = balance.have - balance.want
    pull = _coarse(weight * (residual[b] - residual[a]))  # (c,)
    left, left_gain = _shortlist(balance, weight, pull, a)
    right, right_gain = _shortlist(balance, weight, -pull, b)
    rows_left, rows_right = _rows(balance, left), _rows(balance, right)
    gain = left_gain[:, None] + right_gain - 4 * (rows_left * weight) @ rows_right.T
    i, j = np.unravel_index(gain.argmin(), gain.shape)
    if gain[i, j] >= -_GAIN:
        return False
    for unit, target in ((left[i], b), (right[j], a)):
        if unit >= 0:
            balance.move(int(unit), target)
    return True


def _shortlist(
    balance: LabelBalance, weight: Floats, pull: Floats, part: int
) -> tuple[Rows, Floats]:
    """Return units of a part whose leaving costs least, nobody (-1) first, and that cost."""
    units = np.flatnonzero(balance.part == part)
    table = balance.table[units]
    cost = 2 * (table @ pull + (table * table) @ weight)
    best = np.argsort(cost, kind="stable")[:_SHORTLIST]
    return np.append(-1, units[best]), np.append(0.0, cost[best])


def _coarse(values: Floats) -> Floats:
    """Round to multiples of 2^-16.

    Counts are whole and weights are powers of two, so every later product and sum is exact, and
    no machine's order of summation can turn a tie into another split.
    """
    return np.round(values * 2.0**16) / 2.0**16


def _rows(balance: LabelBalance, units: Rows) -> Floats:
    """Columns of units (s, c); nobody has none of anything."""
    return np.where(units[:, None] >= 0, balance.table[units], 0.0)


_SHOWN = 5
"""Labels that a message names; the rest are counted."""


def check_feasible(
    counts: Floats, parts: int, minimum: int, label_names: Sequence[str] | None
) -> None:
    """Refuse labels that no assignment can give `minimum` positives in each part.

    The t groups richest in a label fill at most t parts, so what is left without them must do
    for the other ``parts - t``, for every t.

    Parameters
    ----------
    counts : ndarray of float64, (u, l)
        Positives of each label in each unit.
    parts, minimum : int
    label_names : sequence of str, (l,), optional

    Raises
    ------
    InputError
        Folds larger than a rare label allows; the message names the first such labels.
    """
    richest = -np.sort(-counts, axis=0)[: parts - 1]  # (parts - 1, l)
    left = counts.sum(axis=0) - np.cumsum(np.vstack([np.zeros(counts.shape[1]), richest]), axis=0)
    needed = minimum * (parts - np.arange(len(left)))
    wrong = [
        _describe(column, counts[:, column], parts * minimum, label_names)
        for column in np.argsort(counts.sum(axis=0), kind="stable").tolist()  # the rarest first
        if (left[:, column] < needed).any()
    ]
    if wrong:
        raise InputError(
            f"{parts} folds are more than a rare label allows, with at least {minimum} positives "
            f"of every label in every test fold: {_listed(wrong)}. Use fewer folds, lower "
            "min_positives, drop the label, or use a finer group scheme"
        )


def shortfall_message(
    counts: Floats, balance: LabelBalance, minimum: int, label_names: Sequence[str] | None
) -> str:
    """Say which labels the search left below the minimum, and where."""
    have, parts = balance.have[:, :-1], len(balance.have)
    found = []
    for column in np.flatnonzero(balance.short(minimum)).tolist():
        fold = int(have[:, column].argmin())
        what = _describe(column, counts[:, column], parts * minimum, label_names)
        found.append(f"{what}, and {have[fold, column]:.0f} of them come to fold {fold}")
    return (
        f"found no assignment with at least {minimum} positives of every label in each of "
        f"{parts} folds: {_listed(found)}. Use fewer folds, lower min_positives, drop the "
        "label, or use a finer group scheme"
    )


def _listed(mistakes: Sequence[str]) -> str:
    """Join the first few of many, and count the rest."""
    shown = "; ".join(mistakes[:_SHOWN])
    rest = len(mistakes) - _SHOWN
    return shown if rest <= 0 else f"{shown}; and {rest} more labels"


def _describe(column: int, counts: Floats, needed: int, label_names: Sequence[str] | None) -> str:
    name = f"column {column}" if label_names is None else f"'{label_names[column]}'"
    positives, holders = int(counts.sum()), np.count_nonzero(counts)
    text = f"label {name} has {positives} positives where {needed} are needed"
    if positives >= needed:
        text = f"label {name} has its {positives} positives in {holders} groups, the largest with "
        text += f"{int(counts.max())}"
    return text


_ATTEMPTS = 5
"""Starts, each with new random order, before a minimum counts as out of reach."""
_SLACK = 0.01
"""A part may grow beyond its target by this share (and by one row) before it is passed over."""


@dataclass(frozen=True, eq=False)
class GroupUnits:
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
    def gather(cls, labels: NDArray[np.uint8], groups: Rows) -> GroupUnits:
        """Sum labels (n, l) over rows of equal group (n,)."""
        names, unit_of = np.unique(groups, return_inverse=True)
        counts = np.zeros((len(names), labels.shape[1]))
        np.add.at(counts, unit_of, labels)
        return cls(counts, np.bincount(unit_of).astype(np.float64), unit_of)


def stratify_groups(
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
    units = GroupUnits.gather(labels, groups)
    check_feasible(units.counts, len(shares), minimum, label_names)
    if len(units.sizes) == 0:
        return np.zeros(0, dtype=np.int64)
    for _ in range(_ATTEMPTS):
        part = _deal(units, np.asarray(shares, dtype=np.float64), rng)
        balance = LabelBalance.of(
            units.counts, units.sizes, np.asarray(shares, dtype=np.float64), part
        )
        if repair_folds(balance, minimum):
            return balance.part[units.unit_of]
    raise InputError(shortfall_message(units.counts, balance, minimum, label_names))


def _deal(units: GroupUnits, shares: Floats, rng: np.random.Generator) -> Rows:
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
