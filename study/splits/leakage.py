"""The leak audit of a split: twins and near neighbors across folds, labels without positives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError
from study.splits import groups as chem
from study.splits.split import Split

Rows = NDArray[np.int64]

BINS = 10
"""Number of bins of the similarity histogram, of equal width from 0 to 1."""
FEW = 5
"""Number of test positives below which a label counts as rare in a fold."""


@dataclass(frozen=True, eq=False)
class LeakAudit:
    """Leaks of a split and labels without positives, for F folds and T fractions.

    Test molecules of a fold are compared with all molecules outside of the fold.

    Attributes
    ----------
    folds : tuple of (int, int), (F,)
        Repeat and index.
    fractions : tuple of float, (T,)
    test_sizes : ndarray of int64, (F,)
    fit_sizes, validation_sizes : ndarray of int64, (F, T)
    constitution_twins : ndarray of int64, (F,)
        Test molecules with a molecule of the same constitution outside of the fold.
    fingerprint_twins : ndarray of int64, (F,)
        Test molecules with a molecule of identical ECFP4 outside of the fold.
    neighbor_mean : ndarray of float64, (F,)
        Mean over test molecules of the largest ECFP4 Tanimoto similarity to the outside.
    neighbor_histogram : ndarray of int64, (F, 10)
        Test molecules by that similarity, in bins of 0.1.
    rare_labels : tuple of tuple of int, (F,)
        Label columns with fewer than 5 test positives.
    unseen_labels : ndarray of int64, (F, T)
        Number of labels without positives among the fitted rows.
    """

    folds: tuple[tuple[int, int], ...]
    fractions: tuple[float, ...]
    test_sizes: Rows
    fit_sizes: Rows
    validation_sizes: Rows
    constitution_twins: Rows
    fingerprint_twins: Rows
    neighbor_mean: NDArray[np.float64]
    neighbor_histogram: Rows
    rare_labels: tuple[tuple[int, ...], ...]
    unseen_labels: Rows

    def rows(self) -> list[dict[str, str]]:
        """Return a row of text for every fold: column title -> text."""
        return [self._format_row(fold) for fold in range(len(self.folds))]

    def _format_row(self, fold: int) -> dict[str, str]:
        repeat, index = self.folds[fold]
        size = self.test_sizes[fold]
        row = {"repeat": f"{repeat}", "fold": f"{index}", "test": f"{size}"}
        for name, counts in (
            ("constitution twins", self.constitution_twins),
            ("ECFP4 twins", self.fingerprint_twins),
        ):
            row[name] = f"{counts[fold]} ({100 * counts[fold] / size:.1f}%)"
        row["nearest Tanimoto"] = f"{self.neighbor_mean[fold]:.3f}"
        row["histogram 0.0-1.0"] = " ".join(map(str, self.neighbor_histogram[fold]))
        row[f"labels under {FEW}"] = f"{len(self.rare_labels[fold])}"
        for at, fraction in enumerate(self.fractions):
            sizes = f"{self.fit_sizes[fold, at]}+{self.validation_sizes[fold, at]}"
            row[f"fit+val at {fraction:g}"] = sizes
            row[f"unseen at {fraction:g}"] = f"{self.unseen_labels[fold, at]}"
        return row


def audit_leakage(split: Split, smiles: Sequence[str], labels: NDArray[np.uint8]) -> LeakAudit:
    """Audit a split of these molecules (n,) and labels (n, l).

    Raises
    ------
    InputError
        Numbers of rows differ, a SMILES cannot be parsed, or one canonical molecule is both in
        a test fold and outside of it.
    """
    if not len(split) == len(smiles) == len(labels):
        raise InputError(
            f"leak audit: the split has {len(split)} rows, smiles {len(smiles)}, labels "
            f"{len(labels)}: they must belong to one data set"
        )
    mols = chem.parse_molecules(smiles)
    test_folds = _build_test_folds(split)
    _check_duplicates(chem.canonical_smiles(mols, stereo=True), test_folds)
    nearest = _find_nearest(chem.ecfp4(mols), test_folds)  # (R, n)
    twins = _find_shared_names(chem.canonical_smiles(mols, stereo=False), test_folds)  # (R, n)
    folds, fractions = split.folds, split.fractions
    similar = [nearest[fold.repeat, fold.test] for fold in folds]
    return LeakAudit(
        folds=tuple((fold.repeat, fold.index) for fold in folds),
        fractions=fractions,
        test_sizes=np.array([len(fold.test) for fold in folds]),
        fit_sizes=np.array([[len(fold.fit[f]) for f in fractions] for fold in folds]),
        validation_sizes=np.array([[len(d.validation[f]) for f in fractions] for d in folds]),
        constitution_twins=np.array([twins[fold.repeat, fold.test].sum() for fold in folds]),
        fingerprint_twins=np.array([np.count_nonzero(values == 1) for values in similar]),
        neighbor_mean=np.array([values.mean(dtype=np.float64) for values in similar]),
        neighbor_histogram=np.array(
            [np.histogram(values, bins=BINS, range=(0, 1))[0] for values in similar]
        ),
        rare_labels=tuple(
            tuple(np.flatnonzero(labels[fold.test].sum(axis=0) < FEW).tolist()) for fold in folds
        ),
        unseen_labels=np.array(
            [[(~labels[fold.fit[f]].any(axis=0)).sum() for f in fractions] for fold in folds]
        ),
    )


def _build_test_folds(split: Split) -> Rows:
    """Return the test fold of every row in every repeat, (R, n)."""
    test_folds = np.empty((split.n_repeats, len(split)), dtype=np.int64)
    for fold in split.folds:
        test_folds[fold.repeat, fold.test] = fold.index
    return test_folds


def _find_shared_names(names: Sequence[str], test_folds: Rows) -> NDArray[np.bool_]:
    """Return whether the name of a row also occurs in another fold of the repeat, (R, n)."""
    _, numbers = np.unique(np.asarray(names), return_inverse=True)
    shared = np.empty(test_folds.shape, dtype=np.bool_)
    for repeat, fold in enumerate(test_folds):
        occurs = np.zeros((numbers.max() + 1, fold.max() + 1), dtype=np.bool_)
        occurs[numbers, fold] = True
        shared[repeat] = (occurs.sum(axis=1) > 1)[numbers]
    return shared


def _check_duplicates(names: Sequence[str], test_folds: Rows) -> None:
    crossing = np.flatnonzero(_find_shared_names(names, test_folds).any(axis=0))
    if len(crossing):
        first = names[crossing[0]]
        rows = [row for row, name in enumerate(names) if name == first]
        raise InputError(
            f"leak audit: molecule '{first}' in rows {rows} is both in a test fold and outside of "
            "it; merge duplicates before splitting, or group them with the scheme 'constitution'"
        )


def _find_nearest(bits: NDArray[np.float32], test_folds: Rows) -> NDArray[np.float32]:
    """Return the largest similarity of each row to a row of another fold, (R, n)."""
    nearest = np.zeros(test_folds.shape, dtype=np.float32)
    for start, block in chem.tanimoto_blocks(bits):
        stop = start + len(block)
        for repeat, fold in enumerate(test_folds):
            across = fold[start:stop, None] != fold
            nearest[repeat, start:stop] = np.where(across, block, 0).max(axis=1)
    return nearest
