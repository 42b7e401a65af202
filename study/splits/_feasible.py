"""Which minimum of positives can be reached, and what to say where it cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError
from study.splits._repair import Balance

Floats = NDArray[np.float64]

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
    counts: Floats, balance: Balance, minimum: int, label_names: Sequence[str] | None
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
