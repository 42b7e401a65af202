"""Repair of a grouped assignment by exchanges of units between two parts.

The cost is the squared distance of every part from its expected positives and rows,
``sum over parts j and columns c of w_c (have_jc - want_jc)^2``, with the rows as one more column.
An exchange sends a unit x from part a to part b and a unit y back, where either may be nobody;
it changes the cost by ``2 (x - y) w (r_b - r_a) + 2 w (x - y)^2`` for residuals r.

Shapes: u units, l labels, k parts, c = l + 1 columns.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
class Balance:
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
    def of(cls, counts: Floats, sizes: Floats, shares: Floats, part: Rows) -> Balance:
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


def repair(balance: Balance, minimum: int) -> bool:
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


def _descend(balance: Balance, weight: Floats) -> None:
    pairs = list(itertools.combinations(range(len(balance.want)), 2))
    for _ in range(_SWEEPS):
        if not sum(_exchange(balance, weight, a, b) for a, b in pairs):
            return


def _exchange(balance: Balance, weight: Floats, a: int, b: int) -> bool:
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


def _shortlist(balance: Balance, weight: Floats, pull: Floats, part: int) -> tuple[Rows, Floats]:
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


def _rows(balance: Balance, units: Rows) -> Floats:
    """Columns of units (s, c); nobody has none of anything."""
    return np.where(units[:, None] >= 0, balance.table[units], 0.0)
