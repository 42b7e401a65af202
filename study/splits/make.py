"""Construction of splits: groups, folds, validation parts and nested fractions.

Every random draw has its own generator, seeded by repeat, fold, part and fraction, so adding
repeats or smaller fractions does not change the other folds and fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError
from study.splits.groups import group_rows
from study.splits.split import Fold, Split
from study.splits.stratify import stratify_groups

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _SplitData:
    """Labels (n, l) and groups (n,) of the molecules, and the options of the split."""

    labels: NDArray[np.uint8]
    groups: Rows
    fractions: tuple[float, ...]
    validation: float
    seed: int


def make_split(
    smiles: Sequence[str],
    labels: NDArray[np.uint8],
    *,
    label_names: Sequence[str],
    dataset_digest: str,
    scheme: str = "constitution",
    folds: int = 5,
    repeats: int = 1,
    fractions: Sequence[float] = (1.0,),
    validation: float = 0.1,
    seed: int = 0,
    min_positives: int = 5,
) -> Split:
    """Split molecules into stratified folds that keep groups together.

    Parameters
    ----------
    smiles : sequence of str, (n,)
    labels : ndarray of uint8, (n, l)
    label_names : sequence of str, (l,)
    dataset_digest : str
        Digest of the data set, stored with the split.
    scheme : str
        Group scheme, one of `SCHEMES`.
    folds, repeats : int
        Number of test folds, and of repeats of the cross-validation.
    fractions : sequence of float
        Shares of the training fold in (0, 1], exact within one row in the fit and in the
        validation part. Labels can lose all positives in a small fraction: the audit counts them.
    validation : float
        Share of the training fold, in [0, 0.5], that is used for early stopping and selection.
    seed : int
    min_positives : int
        Minimum number of positives of every label in every test fold.

    Returns
    -------
    Split

    Raises
    ------
    InputError
        An option is out of range, a SMILES cannot be parsed, a group is larger than a fold, or
        a label is too rare for the folds.

    Notes
    -----
    Fractions drop single molecules of a training fold, not groups: dropped molecules are not
    used at all, so nothing leaks, and a cluster larger than a small fraction can be thinned.
    """
    _check_options(folds, repeats, fractions, validation, seed, min_positives)
    _check_table(smiles, labels, label_names, folds)
    rising = tuple(sorted(float(f) for f in fractions))
    table = _SplitData(labels, group_rows(smiles, scheme, folds), rising, validation, seed)
    all_folds: list[Fold] = []
    for repeat in range(repeats):
        rng = _build_generator(seed, repeat)
        shares = [1 / folds] * folds
        part = stratify_groups(
            labels, table.groups, shares, rng, minimum=min_positives, label_names=label_names
        )
        all_folds += [_build_fold(table, repeat, index, part == index) for index in range(folds)]
    return Split(
        scheme, seed, folds, repeats, rising, table.groups, tuple(all_folds), dataset_digest
    )


def _build_fold(table: _SplitData, repeat: int, index: int, in_test: NDArray[np.bool_]) -> Fold:
    test, train = np.flatnonzero(in_test), np.flatnonzero(~in_test)
    shares = [1 - table.validation, table.validation]
    rng = _build_generator(table.seed, repeat, index)
    parts = stratify_groups(table.labels[train], table.groups[train], shares, rng)
    fit, validation = (
        _draw_fractions(table, train[parts == part], (repeat, index, part)) for part in (0, 1)
    )
    empty = [f for f in table.fractions if len(fit[f]) == 0]
    if empty:
        raise InputError(
            f"fraction {empty[0]} of {len(train)} training rows leaves no row to fit on: use a "
            "larger fraction"
        )
    return Fold(repeat, index, test, fit, validation)


def _draw_fractions(table: _SplitData, rows: Rows, key: tuple[int, ...]) -> dict[float, Rows]:
    """Return the rows of every fraction, each drawn from those of the next larger one."""
    by_fraction, total = {}, len(rows)
    for step, fraction in enumerate(reversed(table.fractions)):
        target = round(fraction * total)
        if target < len(rows):
            share = target / len(rows)
            rng = _build_generator(table.seed, *key, step)
            units = np.arange(len(rows))
            rows = rows[stratify_groups(table.labels[rows], units, [share, 1 - share], rng) == 0]
        by_fraction[fraction] = rows
    return {fraction: by_fraction[fraction] for fraction in table.fractions}


def _build_generator(seed: int, *place: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def _check_options(
    folds: int,
    repeats: int,
    fractions: Sequence[float],
    validation: float,
    seed: int,
    min_positives: int,
) -> None:
    rules = (
        (folds >= 2, f"folds must be at least 2, not {folds}"),
        (repeats >= 1, f"repeats must be at least 1, not {repeats}"),
        (len(fractions) > 0, "give at least one training fraction, for example 1.0"),
        (all(0 < f <= 1 for f in fractions), f"fractions must be in (0, 1], not {fractions}"),
        (len(set(fractions)) == len(fractions), f"a fraction appears twice in {fractions}"),
        (0 <= validation <= 0.5, f"validation must be in [0, 0.5], not {validation}"),
        (seed >= 0, f"seed must be 0 or more, not {seed}"),
        (min_positives >= 0, f"min_positives must be 0 or more, not {min_positives}"),
    )
    wrong = [message for holds, message in rules if not holds]
    if wrong:
        raise InputError(f"split: {'; '.join(wrong)}")


def _check_table(
    smiles: Sequence[str], labels: NDArray[np.uint8], label_names: Sequence[str], folds: int
) -> None:
    shape = (len(smiles), len(label_names))
    if labels.shape != shape or labels.dtype != np.uint8 or np.any(labels > 1):
        raise InputError(
            f"split: labels must be uint8 0/1 of shape {shape}, not {labels.dtype} {labels.shape}"
        )
    if len(smiles) < folds:
        raise InputError(f"split: {len(smiles)} molecules cannot fill {folds} folds")
