"""Splits and folds as checked, immutable values, and the file of a split."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError, StorageError
from study.storage.checksums import json_digest

Rows = NDArray[np.int64]


def check_fractions(place: str, fractions: Sequence[float]) -> None:
    """Reject fractions that are not ascending within (0, 1]."""
    if not fractions or list(fractions) != sorted(set(fractions)):
        raise InputError(f"{place}: fractions must be ascending, each once, not {fractions}")
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
    """Check that the parts of a fold share no rows or groups and that fractions are nested.

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
                    f"but row {extra[0]} is not"
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
    ascending = rows.dtype == np.int64 and rows.ndim == 1 and bool(np.all(np.diff(rows) > 0))
    if not ascending or (len(rows) and (rows[0] < 0 or rows[-1] >= n)):
        raise InputError(f"{place}: rows must be ascending int64 from 0 to {n - 1}, each once")


def _check_apart(place: str, what: str, groups: Rows, one: Rows, other: Rows) -> None:
    shared = np.intersect1d(groups[one], groups[other])
    if len(shared):
        rows = np.flatnonzero(groups == shared[0])[:5]
        raise InputError(
            f"{place}: {what} rows share group {shared[0]} (rows {', '.join(map(str, rows))})"
        )


_FORMAT = "olfaction-study split 1"


def pack_split(state: Mapping[str, Any]) -> bytes:
    """Serialise the state of a split with its digest."""
    return json.dumps({"format": _FORMAT, **state}, separators=(",", ":")).encode()


def unpack_split(data: bytes, place: str) -> dict[str, Any]:
    """Read the bytes of `pack_split` and verify the digest."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not a readable split: {error}") from error
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise InputError(f"{place}: not a split file of the format '{_FORMAT}'")
    stated = content.pop("digest", None)
    if json_digest(content) != stated:
        raise InputError(
            f"{place}: the content does not match its digest {str(stated)[:12]}: the file was "
            "changed or truncated; make the split again from its seed"
        )
    return content


def write_split(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a split with its digest, atomically."""
    from study.storage.storage import write_atomic  # fsspec is slow to import and only needed here

    try:
        write_atomic(path, pack_split(state))
    except StorageError as error:
        raise InputError(f"{path}: the split cannot be written: {error}") from error


def read_split(path: Path) -> dict[str, Any]:
    """Read the state of a split from a file and verify its digest."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: not a readable split: {error}") from error
    return unpack_split(data, str(path))


@dataclass(frozen=True, eq=False)
class Fold:
    """One test fold, and its training rows at every fraction.

    Attributes
    ----------
    repeat, index : int
        Repeat of the cross-validation, and number of the fold in it.
    test : ndarray of int64
        Test rows; the same at every fraction.
    fit, validation : mapping of float to ndarray of int64
        By training fraction: rows to fit on, and rows for early stopping and selection. Both are
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
        """Return all training rows of a fraction, fit and validation together, sorted."""
        return np.sort(np.concatenate([self.fit[fraction], self.validation[fraction]]))

    def digest(self, fraction: float) -> str:
        """Return the sha256 of the rows of this fold at one fraction.

        Unlike the digest of the split it does not change when repeats or smaller fractions are
        added, so finished trials and encoders are found again.
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
        Group scheme (see `SCHEMES`).
    seed, n_folds, n_repeats : int
    fractions : tuple of float
        Training fractions, ascending.
    groups : ndarray of int64, (n,)
        Group of every molecule; no group is in two parts of a fold.
    folds : tuple of Fold, (n_repeats * n_folds,)
        Ordered by repeat.
    dataset_digest : str
        Digest of the data set whose rows these are.

    Raises
    ------
    InputError
        Rows or groups are in two parts, not nested, or missing.
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
        """Sha256 of the whole split."""
        return json_digest(self.to_state())

    @cached_property
    def folds_digest(self) -> str:
        """Sha256 of data set, groups and test folds: equal if trials can be paired."""
        folds = [[fold.repeat, fold.index, fold.test.tolist()] for fold in self.folds]
        return json_digest(
            {"dataset": self.dataset_digest, "groups": self.groups.tolist(), "folds": folds}
        )

    def save(self, path: str | Path) -> None:
        """Write the split as JSON, atomically.

        Raises
        ------
        InputError
            The path cannot be written.
        """
        write_split(Path(path), {**self.to_state(), "digest": self.digest})

    def to_bytes(self) -> bytes:
        """Return the JSON that `save` writes."""
        return pack_split({**self.to_state(), "digest": self.digest})

    @classmethod
    def load(cls, path: str | Path, *, dataset_digest: str | None = None) -> Split:
        """Read a split from a file and check that it belongs to the data set.

        Raises
        ------
        InputError
            The file cannot be read, was changed, or belongs to another data set.
        """
        return cls._from_state(read_split(Path(path)), str(path), dataset_digest)

    @classmethod
    def from_bytes(cls, data: bytes, place: str, *, dataset_digest: str | None = None) -> Split:
        """Read the bytes of `to_bytes`, checked as by `load`; `place` names them in messages."""
        return cls._from_state(unpack_split(data, place), place, dataset_digest)

    @classmethod
    def _from_state(cls, state: Mapping[str, Any], path: str, dataset_digest: str | None) -> Split:
        made_for = str(state.get("dataset_digest"))
        if dataset_digest is not None and made_for != dataset_digest:
            raise InputError(
                f"{path}: this split was made for the data set {made_for[:12]}, "
                f"not for {dataset_digest[:12]}: its row numbers refer to other molecules; make "
                "a new split, or use the data set it belongs to"
            )
        try:
            return cls(
                **{name: state[name] for name in ("scheme", "seed", "n_folds", "n_repeats")},
                fractions=tuple(state["fractions"]),
                groups=_to_rows(state["groups"]),
                folds=tuple(_read_fold(fold, state["fractions"]) for fold in state["folds"]),
                dataset_digest=state["dataset_digest"],
            )
        except InputError:  # its message already names the broken rule
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a split of this program: {error}") from error

    def to_state(self) -> dict[str, Any]:
        """Return the split as a JSON value; parts of a fold are in the order of the fractions."""
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


def _read_fold(state: Mapping[str, Any], fractions: list[float]) -> Fold:
    parts = {
        name: {f: _to_rows(rows) for f, rows in zip(fractions, state[name], strict=True)}
        for name in ("fit", "validation")
    }
    return Fold(repeat=state["repeat"], index=state["index"], test=_to_rows(state["test"]), **parts)


def _to_rows(values: list[int]) -> Rows:
    return np.array(values, dtype=np.int64)
