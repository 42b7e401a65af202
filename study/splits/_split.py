"""Splits as frozen values, checked when they are made.

Shapes: n molecules; rows are sorted arrays of int64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError
from study.seals import json_digest
from study.splits import _store
from study.splits._check import check_fold, check_fractions, check_repeats

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fold:
    """One test fold and what may be trained on for it, at every fraction.

    Attributes
    ----------
    repeat, index : int
        Which repeat of the cross-validation, and which of its folds.
    test : ndarray of int64
        Test rows; the same at every fraction.
    fit, validation : mapping of float to ndarray of int64
        By training fraction: rows to fit on, and rows to stop early and to choose on. Both are
        nested: the rows of a fraction are among the rows of every larger one.
    """

    repeat: int
    index: int
    test: Rows
    fit: Mapping[float, Rows]
    validation: Mapping[float, Rows]

    def __post_init__(self) -> None:
        for rows in (self.test, *self.fit.values(), *self.validation.values()):
            rows.setflags(write=False)

    def train(self, fraction: float) -> Rows:
        """All training rows of a fraction, fit and validation together, sorted."""
        return np.sort(np.concatenate([self.fit[fraction], self.validation[fraction]]))

    def digest(self, fraction: float) -> str:
        """Sha256 of the rows of this fold at one fraction: what a trained encoder depends on.

        Unlike the digest of the whole split it does not change when repeats or smaller fractions
        are added, so that finished fits can be found again.
        """
        state = hashlib.sha256()
        for rows in (self.test, self.fit[fraction], self.validation[fraction]):
            state.update(f"{len(rows)}:".encode() + rows.astype("<i8").tobytes())
        return state.hexdigest()


@dataclass(frozen=True, eq=False)
class Split:
    """Folds of a data set: k folds x repeats, with nested training fractions.

    Attributes
    ----------
    scheme : str
        What stays together (see `SCHEMES`).
    seed, n_folds, n_repeats : int
    fractions : tuple of float
        Training fractions, rising.
    groups : ndarray of int64, (n,)
        Group of every molecule; no group stands on two sides of a line.
    folds : tuple of Fold, (n_repeats * n_folds,)
        Repeat by repeat.
    dataset_digest : str
        Digest of the data set whose rows these are.

    Raises
    ------
    InputError
        Something is on both sides of a line, not nested, or left out.
    """

    scheme: str
    seed: int
    n_folds: int
    n_repeats: int
    fractions: tuple[float, ...]
    groups: Rows
    folds: tuple[Fold, ...]
    dataset_digest: str

    def __post_init__(self) -> None:
        check_fractions(f"split '{self.scheme}'", self.fractions)
        for fold in self.folds:
            place = f"split '{self.scheme}', repeat {fold.repeat}, fold {fold.index}"
            check_fold(place, fold.test, fold.fit, fold.validation, self.fractions, self.groups)
        check_repeats(
            f"split '{self.scheme}'",
            [(fold.repeat, fold.index, fold.test) for fold in self.folds],
            (self.n_repeats, self.n_folds),
            len(self),
        )
        self.groups.setflags(write=False)

    def __len__(self) -> int:
        return len(self.groups)

    @cached_property
    def digest(self) -> str:
        """Sha256 of everything in the split."""
        return json_digest(self._state())

    @cached_property
    def folds_digest(self) -> str:
        """Sha256 of table, groups and test folds: what makes trials of two studies comparable."""
        folds = [[fold.repeat, fold.index, fold.test.tolist()] for fold in self.folds]
        return json_digest(
            {"dataset": self.dataset_digest, "groups": self.groups.tolist(), "folds": folds}
        )

    def save(self, path: str | Path) -> None:
        """Write the split as JSON, whole or not at all.

        Raises
        ------
        InputError
            The path cannot be written.
        """
        _store.write(Path(path), {**self._state(), "digest": self.digest})

    def to_bytes(self) -> bytes:
        """Return the JSON that `save` writes."""
        return _store.pack({**self._state(), "digest": self.digest})

    @classmethod
    def load(cls, path: str | Path, *, dataset_digest: str | None = None) -> Split:
        """Read a split, and check that it was made for this data set if one is given.

        Raises
        ------
        InputError
            The file cannot be read, was changed, or belongs to another data set.
        """
        return cls._checked(_store.read(Path(path)), str(path), dataset_digest)

    @classmethod
    def from_bytes(cls, data: bytes, place: str, *, dataset_digest: str | None = None) -> Split:
        """Read what `to_bytes` made and `place` held, checked as by `load`."""
        return cls._checked(_store.unpack(data, place), place, dataset_digest)

    @classmethod
    def _checked(cls, state: Mapping[str, Any], path: str, dataset_digest: str | None) -> Split:
        made_for = str(state.get("dataset_digest"))
        if dataset_digest is not None and made_for != dataset_digest:
            raise InputError(
                f"{path}: this split was made for the data set {made_for[:12]}, "
                f"not for {dataset_digest[:12]}: its row numbers mean other molecules; make a "
                "new split, or give the data set it belongs to"
            )
        try:
            return cls(
                **{name: state[name] for name in ("scheme", "seed", "n_folds", "n_repeats")},
                fractions=tuple(state["fractions"]),
                groups=_rows(state["groups"]),
                folds=tuple(_fold(fold, state["fractions"]) for fold in state["folds"]),
                dataset_digest=state["dataset_digest"],
            )
        except InputError:  # a rule of splits, said already
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"{path}: no split of this program: {error}") from error

    def _state(self) -> dict[str, Any]:
        """Everything as plain JSON values; the parts of a fold in the order of the fractions."""
        folds = [
            {
                "repeat": fold.repeat,
                "index": fold.index,
                "test": fold.test.tolist(),
                "fit": [fold.fit[f].tolist() for f in self.fractions],
                "validation": [fold.validation[f].tolist() for f in self.fractions],
            }
            for fold in self.folds
        ]
        return {
            "scheme": self.scheme,
            "seed": self.seed,
            "n_folds": self.n_folds,
            "n_repeats": self.n_repeats,
            "fractions": list(self.fractions),
            "groups": self.groups.tolist(),
            "folds": folds,
            "dataset_digest": self.dataset_digest,
        }


def _fold(state: Mapping[str, Any], fractions: list[float]) -> Fold:
    parts = {
        name: {f: _rows(rows) for f, rows in zip(fractions, state[name], strict=True)}
        for name in ("fit", "validation")
    }
    return Fold(repeat=state["repeat"], index=state["index"], test=_rows(state["test"]), **parts)


def _rows(values: list[int]) -> Rows:
    return np.array(values, dtype=np.int64)
