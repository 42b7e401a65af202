"""Which minimum of positives can be reached, and what to say where it cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError
from study.splits._repair import Balance

Floats = NDArray[np.float64]


def check_feasible(
    counts: Floats, parts: int, minimum: int, label_names: Sequence[str] | None
) -> None:
    """Refuse labels that no assignment can give `minimum` positives in each part.

    Parameters
    ----------
    counts : ndarray of float64, (u, l)
        Positives of each label in each unit.
    parts, minimum : int
    label_names : sequence of str, (l,), optional

    Raises
    ------
    InputError
        Folds larger than a rare label allows; the message names every such label.
    """
    positives, holders = counts.sum(axis=0), np.count_nonzero(counts, axis=0)
    wrong = []
    if minimum > 0:
        rare = np.flatnonzero((positives < parts * minimum) | (holders < parts))
        wrong = [_need(int(c), positives, holders, parts, minimum, label_names) for c in rare]
    if wrong:
        raise InputError(
            f"{parts} folds are more than a rare label allows, with at least {minimum} positives "
            f"of every label in every test fold: {'; '.join(wrong)}. Use fewer folds, lower "
            "min_positives, or drop the label"
        )


def shortfall_message(
    counts: Floats, balance: Balance, minimum: int, label_names: Sequence[str] | None
) -> str:
    """Say which labels the search left below the minimum, and where."""
    have, parts = balance.have[:, :-1], len(balance.have)
    found = []
    for column in np.flatnonzero(balance.short(minimum)):
        fold = int(have[:, column].argmin())
        found.append(
            f"label {_name(int(column), label_names)} has {counts[:, column].sum():.0f} positives "
            f"in {np.count_nonzero(counts[:, column])} groups, the largest with "
            f"{counts[:, column].max():.0f}; the best assignment found leaves "
            f"{have[fold, column]:.0f} in fold {fold} of {parts}"
        )
    return (
        f"no assignment found with at least {minimum} positives of every label in each of "
        f"{parts} folds: {'; '.join(found)}. Use fewer folds, lower min_positives, drop the "
        "label, or use a finer group scheme"
    )


def _need(
    column: int,
    positives: Floats,
    holders: NDArray[np.int64],
    parts: int,
    minimum: int,
    label_names: Sequence[str] | None,
) -> str:
    name, have = _name(column, label_names), int(positives[column])
    if have < parts * minimum:
        allowed = have // minimum
        hint = f"allow at most {allowed} folds" if allowed >= 2 else "are too few for any folds"
        return f"label {name} has {have} positives, {parts * minimum} are needed ({hint})"
    return f"label {name} has {have} positives in only {holders[column]} groups"


def _name(column: int, label_names: Sequence[str] | None) -> str:
    return f"column {column}" if label_names is None else f"'{label_names[column]}'"
