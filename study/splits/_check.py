"""The rules every split keeps, whatever made it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError

Rows = NDArray[np.int64]


def check_fractions(place: str, fractions: Sequence[float]) -> None:
    """Refuse fractions that are not rising within (0, 1]."""
    if not fractions or list(fractions) != sorted(set(fractions)):
        raise InputError(f"{place}: fractions must be rising, each once, not {fractions}")
    if fractions[0] <= 0 or fractions[-1] > 1:
        raise InputError(f"{place}: fractions must be in (0, 1], not {fractions}")


def check_fold(
    place: str,
    test: Rows,
    fit: Mapping[float, Rows],
    validation: Mapping[float, Rows],
    fractions: Sequence[float],
    groups: Rows,
) -> None:
    """Check one fold: lines not crossed by rows or groups, fractions nested and complete.

    Raises
    ------
    InputError
        A rule is broken; the message has the place, the rule and the first row or group.
    """
    if tuple(fit) != tuple(fractions) or tuple(validation) != tuple(fractions):
        raise InputError(f"{place}: fit and validation must have the fractions {fractions}")
    for rows in (test, *fit.values(), *validation.values()):
        _check_rows(place, rows, len(groups))
    largest = fractions[-1]
    outside = np.setdiff1d(np.arange(len(groups)), test)
    _check_apart(place, "test and training", groups, test, outside)
    _check_apart(place, "fit and validation", groups, fit[largest], validation[largest])
    for small, large in itertools.pairwise(fractions):
        for name, part in (("fit", fit), ("validation", validation)):
            extra = np.setdiff1d(part[small], part[large])
            if len(extra):
                raise InputError(
                    f"{place}: {name} rows of fraction {small} must be among those of {large}, "
                    f"row {extra[0]} is not"
                )
    train = np.concatenate([fit[largest], validation[largest]])
    strays = np.intersect1d(train, test) if largest < 1 else np.setxor1d(train, outside)
    if len(strays):
        raise InputError(
            f"{place}: training rows must be rows outside the test fold, and at fraction 1 all "
            f"of them; row {strays[0]} breaks this"
        )


def check_repeats(
    place: str, tests: Sequence[tuple[int, int, Rows]], shape: tuple[int, int], n: int
) -> None:
    """Check that the test folds of every repeat cover each of n rows once.

    Parameters
    ----------
    place : str
    tests : sequence of (repeat, index, test rows)
    shape : (repeats, folds)
    n : int

    Raises
    ------
    InputError
        A fold is missing or out of order, or a row is tested twice or never.
    """
    repeats, folds = shape
    expected = list(itertools.product(range(repeats), range(folds)))
    if [(repeat, index) for repeat, index, _ in tests] != expected:
        raise InputError(f"{place}: the folds must be {repeats} repeats x {folds} folds, in order")
    for repeat in range(repeats):
        rows = [test for at, _, test in tests if at == repeat]
        times = np.bincount(np.concatenate(rows), minlength=n)
        wrong = np.flatnonzero(times != 1)
        if len(wrong):
            raise InputError(
                f"{place}, repeat {repeat}: every row must be tested once, row {wrong[0]} is "
                f"tested {times[wrong[0]]} times"
            )


def _check_rows(place: str, rows: Rows, n: int) -> None:
    rising = rows.dtype == np.int64 and rows.ndim == 1 and bool(np.all(np.diff(rows) > 0))
    if not rising or (len(rows) and (rows[0] < 0 or rows[-1] >= n)):
        raise InputError(f"{place}: rows must be rising int64 from 0 to {n - 1}, each once")


def _check_apart(place: str, what: str, groups: Rows, one: Rows, other: Rows) -> None:
    shared = np.intersect1d(groups[one], groups[other])
    if len(shared):
        rows = np.flatnonzero(groups == shared[0])[:5]
        raise InputError(
            f"{place}: {what} rows share group {shared[0]} (rows {', '.join(map(str, rows))})"
        )
