"""The result of a finished trial: out-of-fold scores and metrics derived from them."""

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
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **{"id": str, "trial": dict, "label_names": list, "owners": list, "search": dict},
    **{"counts": dict, "history": dict, "seconds": (int, float), "versions": dict},
    **{"code": int, "featurizers": list, "asked": str},
}
_DTYPES = dict(zip(_ARRAYS, (np.int64, np.uint8, np.float32), strict=True))


@dataclass(frozen=True, eq=False)
class TrialResult:
    """Scores of the test molecules of one trial; validated on creation, stored without loss.

    Attributes
    ----------
    id : str
        Identity of the trial: digest of its spec, data, rows and versions.
    trial : mapping
        `Trial.to_json`.
    label_names : tuple of str, (l,)
    test_rows : ndarray of int64, (t,)
        Rows of the data set, in the order of the scores.
    test_labels : ndarray of uint8, (t, l)
    scores : ndarray of float32, (t, l)
        Probability of each label.
    counts : mapping of str to int
        ``fit``, ``validation``, ``test`` molecules, ``parameters``, ``epochs``, ``best_epoch``.
    history : mapping of str to tuple of float
        Training loss and monitored validation value of each epoch.
    seconds : float
        Wall time of the fit.
    versions : mapping of str to str
        Versions of the packages that produced the result.
    owners : tuple of int, (l,) or ()
        For each label, the index into the arm's features of the modality that trained it; empty
        without a fixed partition. Older records have none.
    search : mapping or None
        `SearchLog.to_json` of a trial with a hyperparameter search; None without one.
    code : int
        Number of the training code version; 0 in older records, which store none.
    featurizers : tuple of str
        Versions of the featurizers, in the order of the features, then of the plug-ins of operator
        and partition; older records have none.
    asked : str
        Identity of the requested trial, independent of the version; older records have none.
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
                f"trial {self.id}: {len(self.owners)} owners for {len(self.label_names)} labels; "
                "there must be one per label, or none"
            )
        if not np.isfinite(self.scores).all():
            raise InputError(f"trial {self.id}: scores hold a value that is not finite")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrialResult) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    @cached_property
    def spec(self) -> Trial:
        """The trial that was run."""
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
        """Serialize to an npz with a JSON header, without pickle; equal values give equal bytes."""
        header = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _ARRAYS}
        for name in _OPTIONAL:  # empty fields are left out, as in records before they existed
            if not header[name]:
                del header[name]
        text = json.dumps(header, sort_keys=True, allow_nan=False)
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez(buffer, header=np.frombuffer(text.encode(), np.uint8), **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> TrialResult:
        """Rebuild a result from `to_bytes`."""
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes())
            arrays = {name: stored[name] for name in _ARRAYS}
        _check_types(header, arrays)
        header["label_names"] = tuple(header["label_names"])
        for name in ("owners", "featurizers"):
            header[name] = tuple(header.get(name, ()))
        header["history"] = {key: tuple(values) for key, values in header["history"].items()}
        return cls(**header, **arrays)


def read_origin(data: bytes) -> tuple[int, dict[str, str]]:
    """Return training code number (0: not stored) and package versions from a record's header.

    The packages are the recorded versions and those named by its featurizer versions.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        header = json.loads(stored["header"].tobytes())
    _check_types(header, {})
    packages = {**header["versions"], **featurizer_parts(header.get("featurizers", ()))}
    return header.get("code", 0), packages


def _check_types(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Reject a record whose values have other types than `to_bytes` writes."""
    wrong = [name for name, value in header.items() if not isinstance(value, _TYPES[name])]
    wrong += [name for name, array in arrays.items() if array.dtype != _DTYPES[name]]
    items = {"label_names": str, "owners": int, "featurizers": str}
    wrong += [k for k, kind in items.items() if not all(type(x) is kind for x in header.get(k, ()))]
    if wrong:
        raise InputError(f"not a trial record: '{wrong[0]}' has an unexpected type")
