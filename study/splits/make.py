"""Make a split: group, deal folds, draw validation parts, peel fractions.

Every random draw has its own generator, seeded by its place: adding repeats or
smaller fractions leaves the folds and larger fractions as they were.
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
class _Table:
    """What is split: labels (n, l), groups (n,), and the numbers that steer it."""

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
    """Split a table of molecules into stratified, grouped folds.

    Parameters
    ----------
    smiles : sequence of str, (n,)
    labels : ndarray of uint8, (n, l)
    label_names : sequence of str, (l,)
    dataset_digest : str
        Digest of the data set, kept with the split.
    scheme : str
        What stays together: one of `SCHEMES`.
    folds, repeats : int
        Test folds, and how often the table is dealt anew.
    fractions : sequence of float
        Shares of the training fold in (0, 1], each within one row of its share in the fit and
        in the validation part. Labels may lose all positives in a small one: the audit counts
        them.
    validation : float
        Share of the training fold, in [0, 0.5], that is not fitted on but kept to choose on.
    seed : int
    min_positives : int
        Positives of every label in every test fold.

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
    Within a training fold single molecules are peeled, not groups: what is peeled off is used
    nowhere, so no line is crossed, and a cluster larger than a small fraction can be thinned.
    """
    _check_options(folds, repeats, fractions, validation, seed, min_positives)
    _check_table(smiles, labels, label_names, folds)
    rising = tuple(sorted(float(f) for f in fractions))
    table = _Table(labels, group_rows(smiles, scheme, folds), rising, validation, seed)
    made: list[Fold] = []
    for repeat in range(repeats):
        rng = _generator(seed, repeat)
        shares = [1 / folds] * folds
        part = stratify_groups(
            labels, table.groups, shares, rng, minimum=min_positives, label_names=label_names
        )
        made += [_fold(table, repeat, index, part == index) for index in range(folds)]
    return Split(scheme, seed, folds, repeats, rising, table.groups, tuple(made), dataset_digest)


def _fold(table: _Table, repeat: int, index: int, tested: NDArray[np.bool_]) -> Fold:
    test, train = np.flatnonzero(tested), np.flatnonzero(~tested)
    shares = [1 - table.validation, table.validation]
    rng = _generator(table.seed, repeat, index)
    kept = stratify_groups(table.labels[train], table.groups[train], shares, rng)
    chains = [_peel(table, train[kept == part], (repeat, index, part)) for part in (0, 1)]
    empty = [f for f in table.fractions if len(chains[0][f]) == 0]
    if empty:
        raise InputError(
            f"fraction {empty[0]} of {len(train)} training rows leaves no row to fit on: use a "
            "larger fraction"
        )
    return Fold(repeat, index, test, *chains)


def _peel(table: _Table, rows: Rows, key: tuple[int, ...]) -> dict[float, Rows]:
    """Thin rows to every fraction, each drawn from the next larger one."""
    chain, total = {}, len(rows)
    for step, fraction in enumerate(reversed(table.fractions)):
        target = round(fraction * total)
        if target < len(rows):
            share = target / len(rows)
            rng = _generator(table.seed, *key, step)
            units = np.arange(len(rows))
            rows = rows[stratify_groups(table.labels[rows], units, [share, 1 - share], rng) == 0]
        chain[fraction] = rows
    return {fraction: chain[fraction] for fraction in table.fractions}


def _generator(seed: int, *place: int) -> np.random.Generator:
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
        (len(set(fractions)) == len(fractions), f"a fraction stands twice in {fractions}"),
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
