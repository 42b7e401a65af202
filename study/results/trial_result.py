"""What a finished trial is: out-of-fold scores and what follows from them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.artifacts.version import featurizer_parts
from study.errors import InputError
from study.metrics import auroc, average_precision
from study.planning.trials import Trial

_ARRAYS = ("test_rows", "test_labels", "scores")
_OPTIONAL = ("owners", "search", "code", "featurizers", "asked")
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    **{"id": str, "trial": dict, "label_names": list, "owners": list, "search": dict},
    **{"counts": dict, "history": dict, "seconds": (int, float), "versions": dict},
    **{"code": int, "featurizers": list, "asked": str},
}
_DTYPES = dict(zip(_ARRAYS, (np.int64, np.uint8, np.float32), strict=True))


@dataclass(frozen=True, eq=False)
class TrialResult:
    """Scores of every test molecule of one trial; checked when made, exact when read back.

    Attributes
    ----------
    id : str
        Identity of the trial: spec, data, rows and versions.
    trial : mapping
        `Trial.to_json`.
    label_names : tuple of str, (l,)
    test_rows : ndarray of int64, (t,)
        Rows of the data set, in the order of the scores.
    test_labels : ndarray of uint8, (t, l)
    scores : ndarray of float32, (t, l)
        Probabilities; the higher, the more likely the label.
    counts : mapping of str to int
        ``fit``, ``validation``, ``test`` molecules, ``parameters``, ``epochs``, ``best_epoch``.
    history : mapping of str to tuple of float
        Per epoch: training loss and monitored validation value.
    seconds : float
        Wall time of the fit.
    versions : mapping of str to str
        Versions that made the result.
    owners : tuple of int, (l,) or ()
        Modality that each label was trained by, as a number into the features of the arm; empty
        where no partition was fixed. Older records have none.
    search : mapping or None
        `SearchLog.to_json` of a trial that chose its numbers itself; None without a search.
    code : int
        Number of the training code that made it; 0 in older records, which name none.
    featurizers : tuple of str
        Versions of the featurizers, in the order of the features; older records have none.
    asked : str
        Identity of what was asked, whatever made it; older records have none.
    """

    id: str
    trial: Mapping[str, Any]
    label_names: tuple[str, ...]
    test_rows: NDArray[np.int64]
    test_labels: NDArray[np.uint8]
    scores: NDArray[np.float32]
    counts: Mapping[str, int] = field(default_factory=dict)
    history: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[int, ...] = ()
    search: Mapping[str, Any] | None = None
    code: int = 0
    featurizers: tuple[str, ...] = ()
    asked: str = ""

    def __post_init__(self) -> None:
        shape = (len(self.test_rows), len(self.label_names))
        if self.scores.shape != shape or self.test_labels.shape != shape:
            raise InputError(
                f"trial {self.id}: scores {self.scores.shape} and labels "
                f"{self.test_labels.shape} must be {shape}"
            )
        if self.owners and len(self.owners) != len(self.label_names):
            raise InputError(
                f"trial {self.id}: {len(self.owners)} owners for {len(self.label_names)} labels"
            )
        if not np.isfinite(self.scores).all():
            raise InputError(f"trial {self.id}: scores hold a value that is not finite")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrialResult) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    @cached_property
    def spec(self) -> Trial:
        """The trial as a value."""
        return Trial.from_json(self.trial)

    @cached_property
    def auroc(self) -> NDArray[np.float64]:
        """AUROC of each label on this test fold, (l,); NaN where undefined."""
        return auroc(self.test_labels, self.scores)

    @cached_property
    def average_precision(self) -> NDArray[np.float64]:
        """Average precision of each label on this test fold, (l,); NaN where undefined."""
        return average_precision(self.test_labels, self.scores)

    def to_bytes(self) -> bytes:
        """Serialise: one npz with a JSON header, no pickle, the same bytes for the same value."""
        header = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _ARRAYS}
        for name in _OPTIONAL:  # without one, written as before there were any
            if not header[name]:
                del header[name]
        text = json.dumps(header, sort_keys=True, allow_nan=False)
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez(buffer, header=np.frombuffer(text.encode(), np.uint8), **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> TrialResult:
        """Rebuild what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes())
            arrays = {name: stored[name] for name in _ARRAYS}
        _check_kinds(header, arrays)
        header["label_names"] = tuple(header["label_names"])
        for name in ("owners", "featurizers"):
            header[name] = tuple(header.get(name, ()))
        header["history"] = {key: tuple(values) for key, values in header["history"].items()}
        return cls(**header, **arrays)


def read_origin(data: bytes) -> tuple[int, dict[str, str]]:
    """Return the training code (0: none named) and the packages of a record, from its header.

    The packages are the recorded versions, and what its featurizers name.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        header = json.loads(stored["header"].tobytes())
    _check_kinds(header, {})
    named = {**header["versions"], **featurizer_parts(header.get("featurizers", ()))}
    return header.get("code", 0), named


def _check_kinds(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse a record whose values are of other kinds than `to_bytes` writes."""
    wrong = [name for name, value in header.items() if not isinstance(value, _KINDS[name])]
    wrong += [name for name, array in arrays.items() if array.dtype != _DTYPES[name]]
    items = {"label_names": str, "owners": int, "featurizers": str}
    wrong += [k for k, kind in items.items() if not all(type(x) is kind for x in header.get(k, ()))]
    if wrong:
        raise InputError(f"no trial record: '{wrong[0]}' is of another kind than was written")
