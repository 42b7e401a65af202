"""Iterative stratification of groups with many labels, and repair of rare labels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

_CANDIDATES = 24
"""Number of units of each part that are tried against each other in one exchange."""
_ROW_WEIGHT = 4.0
"""Weight of a row relative to a positive; sizes of folds of single molecules then differ by 1."""
_GAIN = 0.01
"""Smallest reduction of the cost that counts, well above the rounding of `_round_to_exact`."""
_ROUNDS = 12
"""Number of times that the weight of labels below the minimum is doubled."""
_SWEEPS = 200
"""Limit of sweeps over all pairs of parts in one descent."""


@dataclass(eq=False)
class LabelBalance:
    """An assignment of units to parts, and how far it is from the expected shares.

    Attributes
    ----------
    table : ndarray of float64, (u, c)
        Positives of each unit and, in the last column, its rows.
    expected : ndarray of float64, (k, c)
        Expected positives and rows of each part.
    assigned : ndarray of float64, (k, c)
        Positives and rows of each part under the current assignment.
    part : ndarray of int64, (u,)
        Part of each unit.
    """

    table: Floats
    expected: Floats
    assigned: Floats
    part: Rows

    @classmethod
    def of(cls, counts: Floats, sizes: Floats, shares: Floats, part: Rows) -> LabelBalance:
        """Compare an assignment of units (u,) with the shares of the parts (k,)."""
        table = np.column_stack([counts, sizes])
        assigned = np.stack([table[part == j].sum(axis=0) for j in range(len(shares))])
        return cls(table, np.outer(shares, table.sum(axis=0)), assigned, part)

    def find_short(self, minimum: int) -> NDArray[np.bool_]:
        """Return which labels have less than the minimum in some part, (l,)."""
        lowest: Floats = self.assigned[:, :-1].min(axis=0)
        return lowest < minimum

    def move(self, unit: int, target: int) -> None:
        """Move a unit to another part."""
        self.assigned[self.part[unit]] -= self.table[unit]
        self.assigned[target] += self.table[unit]
        self.part[unit] = target


def repair_folds(balance: LabelBalance, minimum: int) -> bool:
    """Exchange units until no exchange reduces the cost; then favor labels below the minimum.

    Returns
    -------
    bool
        Whether every label has the minimum in every part.
    """
    weight = np.ones(balance.table.shape[1])
    weight[-1] = _ROW_WEIGHT
    for _ in range(_ROUNDS):
        _reduce_cost(balance, weight)
        short = balance.find_short(minimum)
        if not short.any():
            return True
        weight[:-1][short] *= 2
    return False


def _reduce_cost(balance: LabelBalance, weight: Floats) -> None:
    pairs = list(itertools.combinations(range(len(balance.expected)), 2))
    for _ in range(_SWEEPS):
        if not sum(_make_best_exchange(balance, weight, a, b) for a, b in pairs):
            return


def _make_best_exchange(balance: LabelBalance, weight: Floats, a: int, b: int) -> bool:
    """Make the best exchange between two parts; return whether one reduced the cost."""
    residual = balance.assigned - balance.expected
    gradient = _round_to_exact(weight * (residual[b] - residual[a]))  # (c,)
    left, left_gain = _select_candidates(balance, weight, gradient, a)
    right, right_gain = _select_candidates(balance, weight, -gradient, b)
    rows_left, rows_right = _get_rows(balance, left), _get_rows(balance, right)
    gain = left_gain[:, None] + right_gain - 4 * (rows_left * weight) @ rows_right.T
    i, j = np.unravel_index(gain.argmin(), gain.shape)
    if gain[i, j] >= -_GAIN:
        return False
    for unit, target in ((left[i], b), (right[j], a)):
        if unit >= 0:
            balance.move(int(unit), target)
    return True


def _select_candidates(
    balance: LabelBalance, weight: Floats, gradient: Floats, part: int
) -> tuple[Rows, Floats]:
    """Return the units of a part that are cheapest to move, and their costs.

    The first candidate is -1, no unit: an exchange can move a unit in one direction only.
    """
    units = np.flatnonzero(balance.part == part)
    table = balance.table[units]
    cost = 2 * (table @ gradient + (table * table) @ weight)
    best = np.argsort(cost, kind="stable")[:_CANDIDATES]
    return np.append(-1, units[best]), np.append(0.0, cost[best])


def _round_to_exact(values: Floats) -> Floats:
    """Round to multiples of 2^-16.

    Counts are integers and weights are powers of two, so all further products and sums are exact,
    and the order of summation, which differs between machines, cannot change the split.
    """
    return np.round(values * 2.0**16) / 2.0**16


def _get_rows(balance: LabelBalance, units: Rows) -> Floats:
    """Return the table rows of units, (s, c); zeros for no unit (-1)."""
    return np.where(units[:, None] >= 0, balance.table[units], 0.0)


_MAX_LISTED = 5
"""Number of labels that a message lists; the others are counted."""


def check_feasible(
    counts: Floats, parts: int, minimum: int, label_names: Sequence[str] | None
) -> None:
    """Reject labels that cannot have `minimum` positives in each part under any assignment.

    The t groups with most positives of a label are in at most t parts. So for every t, the other
    groups must have enough positives for ``parts - t`` parts.

    Parameters
    ----------
    counts : ndarray of float64, (u, l)
        Positives of each label in each unit.
    parts, minimum : int
    label_names : sequence of str, (l,), optional

    Raises
    ------
    InputError
        There are too many folds for a rare label; the message lists the first such labels.
    """
    richest = -np.sort(-counts, axis=0)[: parts - 1]  # (parts - 1, l)
    left = counts.sum(axis=0) - np.cumsum(np.vstack([np.zeros(counts.shape[1]), richest]), axis=0)
    needed = minimum * (parts - np.arange(len(left)))
    wrong = [
        _format_label(column, counts[:, column], parts * minimum, label_names)
        for column in np.argsort(counts.sum(axis=0), kind="stable").tolist()  # the rarest first
        if (left[:, column] < needed).any()
    ]
    if wrong:
        raise InputError(
            f"{parts} folds are more than a rare label allows, with at least {minimum} positives "
            f"of every label in every test fold: {_format_list(wrong)}. Use fewer folds, lower "
            "min_positives, drop the label, or use a finer group scheme"
        )


def format_shortfall(
    counts: Floats, balance: LabelBalance, minimum: int, label_names: Sequence[str] | None
) -> str:
    """Return the message about labels that the search left below the minimum."""
    assigned, parts = balance.assigned[:, :-1], len(balance.assigned)
    labels = []
    for column in np.flatnonzero(balance.find_short(minimum)).tolist():
        fold = int(assigned[:, column].argmin())
        what = _format_label(column, counts[:, column], parts * minimum, label_names)
        labels.append(f"{what}, and only {assigned[fold, column]:.0f} of them are in fold {fold}")
    return (
        f"found no assignment with at least {minimum} positives of every label in each of "
        f"{parts} folds: {_format_list(labels)}. Use fewer folds, lower min_positives, drop the "
        "label, or use a finer group scheme"
    )


def _format_list(mistakes: Sequence[str]) -> str:
    """Join the first few items and count the others."""
    text = "; ".join(mistakes[:_MAX_LISTED])
    more = len(mistakes) - _MAX_LISTED
    return text if more <= 0 else f"{text}; and {more} more labels"


def _format_label(
    column: int, counts: Floats, needed: int, label_names: Sequence[str] | None
) -> str:
    name = f"column {column}" if label_names is None else f"'{label_names[column]}'"
    positives, holders = int(counts.sum()), np.count_nonzero(counts)
    text = f"label {name} has {positives} positives where {needed} are needed"
    if positives >= needed:
        text = f"label {name} has its {positives} positives in {holders} groups, the largest with "
        text += f"{int(counts.max())}"
    return text


_MAX_ATTEMPTS = 5
"""Number of attempts, each in another random order, before the search fails."""
_SLACK = 0.01
"""Share of its target size (plus one row) by which a part can grow before it is skipped."""


@dataclass(frozen=True, eq=False)
class GroupUnits:
    """Groups of rows, the units that are assigned to parts.

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
    """Assign rows to parts so that every part has its share of every label and of the rows.

    Parameters
    ----------
    labels : ndarray of uint8, (n, l)
    groups : ndarray of int64, (n,)
        Rows of one group stay together.
    shares : sequence of float, (k,)
        Share of the rows that each part should get; they sum to 1.
    rng : numpy Generator
        Generator that breaks ties and orders the units.
    minimum : int
        Minimum number of positives of every label in every part.
    label_names : sequence of str, (l,), optional
        Names for error messages; default: column numbers.

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
    for _ in range(_MAX_ATTEMPTS):
        part = _assign_units(units, np.asarray(shares, dtype=np.float64), rng)
        balance = LabelBalance.of(
            units.counts, units.sizes, np.asarray(shares, dtype=np.float64), part
        )
        if repair_folds(balance, minimum):
            return balance.part[units.unit_of]
    raise InputError(format_shortfall(units.counts, balance, minimum, label_names))


def _assign_units(units: GroupUnits, shares: Floats, rng: np.random.Generator) -> Rows:
    """Assign every unit (u,): the rarest label first, to the part that needs it most."""
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
            chosen = choose_part(need, room, room + slack >= size, noise[unit])
            part[unit] = chosen
            wanted[chosen] -= units.counts[unit]
            left -= units.counts[unit]
            room[chosen] -= size
    for unit in order[part[order] < 0]:  # units without labels even out the sizes
        part[unit] = room.argmax()
        room[part[unit]] -= units.sizes[unit]
    return part


def choose_part(need: list[float], room: Floats, fits: NDArray[np.bool_], noise: Floats) -> int:
    """Return the part that needs a label most; break ties by free rows, then at random.

    The limit on rows is soft: a full part is skipped only while another part still needs the
    label. With a hard limit the last part can be left without positives of a rare label.
    """
    parts = [j for j in range(len(need)) if fits[j] and need[j] > 0] or range(len(need))
    return max(parts, key=lambda j: (need[j], room[j], noise[j]))
