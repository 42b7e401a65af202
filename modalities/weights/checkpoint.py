"""Strict loading of weight files: every tensor accounted for, nothing unpickled."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalities._base import ModalityError
from modalities.store.files import sha256_of
from modalities.weights.locate import find_weights

STATE_DICT_KEY, PARALLEL_PREFIX = "state_dict", "module."
"""Key of the state dict in a training checkpoint; prefix of names saved by DataParallel."""

State = Mapping[str, torch.Tensor]
"""State dict: name of a weight -> its values."""


def read_state(path: Path, *, sha256: str | None, prefix: str) -> State:
    """Read the state dict of a checkpoint and remove the prefix of its names.

    Parameters
    ----------
    path : Path
        Saved by ``torch.save``: a state dict, or a dict with a state dict as ``state_dict``. The
        names may all begin with ``module.``.
    sha256 : str, optional
        Expected hash of the file, which is checked before anything is read from it.
    prefix : str
        Prefix of the wanted names if the file has other parts too; may be empty.

    Raises
    ------
    ModalityError
        The file has another hash, is damaged or is not a state dict.
    """
    _check_hash(path, sha256)
    state = _get_state_dict(_load(path), path)
    if all(name.startswith(PARALLEL_PREFIX) for name in state):
        state = {name.removeprefix(PARALLEL_PREFIX): value for name, value in state.items()}
    part = {name.removeprefix(prefix): value for name, value in state.items()}
    if len(part) < len(state):
        raise ModalityError(
            f"weights {path} have names both with and without '{prefix}'; "
            "save the state dict of one network"
        )
    return part


def _check_hash(path: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    actual = sha256_of(path)
    if actual != sha256.lower():
        raise ModalityError(
            f"weights {path} have sha256 {actual}, not {sha256}; fetch the file again, "
            "or correct the hash if you mean this file"
        )


def _load(path: Path) -> Any:  # noqa: ANN401 (whatever was saved)
    try:
        # Torch warns of pickles of other programs. They are loaded, or rejected below.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ModalityError(
            f"weights {path} cannot be read ({type(error).__name__}): the file is damaged, cut "
            "short or holds more than tensors; fetch it again"
        ) from error


def _get_state_dict(saved: Any, path: Path) -> State:  # noqa: ANN401 (whatever was saved)
    wrapped = isinstance(saved, Mapping) and isinstance(saved.get(STATE_DICT_KEY), Mapping)
    state: State = saved[STATE_DICT_KEY] if wrapped else saved
    is_state_dict = isinstance(state, Mapping) and all(
        isinstance(name, str) and torch.is_tensor(value) for name, value in state.items()
    )
    if not is_state_dict:
        raise ModalityError(
            f"weights {path} are not a state dict (names -> tensors) but {type(state).__name__}; "
            "save module.state_dict()"
        )
    return state


_SHOWN_NAMES = 4


@dataclass(frozen=True)
class LoadReport:
    """Comparison of a checkpoint and a module, by names of weights.

    Attributes
    ----------
    loaded, missing, unexpected : tuple of str
        Weights in both with the same shape; only in the module; only in the file.
    mismatched : tuple of str
        Weights in both with different shapes, with these shapes.
    ignored : tuple of str
        Weights only in the file that are not needed: declared ignorable, or equal to a buffer
        that the module computes.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether the file has every weight of the module, and otherwise ignored ones only."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lists = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.mismatched,
        }
        mistakes = [
            f"{len(names)} {kind} ({_shorten(names)})" for kind, names in lists.items() if names
        ]
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        return "; ".join([f"{len(self.loaded)} of {total} weights match", *mistakes])


def load_weights(
    module: nn.Module,
    path: Path,
    *,
    sha256: str | None = None,
    prefix: str = "",
    ignorable: Collection[str] = (),
    convert: Callable[[State], State] | None = None,
) -> LoadReport:
    """Load a checkpoint into a module, which it must match exactly.

    Parameters
    ----------
    module : nn.Module
        The module; the file must have every weight of its state dict, in the same shape.
    path : Path
        A state dict saved by ``torch.save``, or a dict with a state dict as ``state_dict``. The
        names may all begin with ``module.``. Only tensors and plain values are unpickled.
    sha256 : str, optional
        Expected hash of the file, which is checked before anything is read from it.
    prefix : str
        Prefix of the names if the file is of a larger network that contains this module.
    ignorable : collection of str
        Name prefixes of weights that the file may have although the module does not.
    convert : function, optional
        Converts a state dict of another layout, without `prefix`, to that of the module. It must
        not change weights that it does not know.

    Returns
    -------
    LoadReport
        The weights that were loaded and ignored.

    Raises
    ------
    ModalityError
        The file has another hash, is damaged, is not a state dict, or is of another
        architecture; the module is unchanged.
    """
    stored = read_state(path, sha256=sha256, prefix=prefix)
    stored = stored if convert is None else convert(stored)
    report = _compare(module, stored, tuple(ignorable))
    if not report.exact:
        raise ModalityError(
            f"weights {path} are of another architecture than {type(module).__name__}: {report}; "
            "choose the encoder they were saved from"
        )
    module.load_state_dict({name: stored[name] for name in report.loaded})
    return report


def _compare(module: nn.Module, stored: State, ignorable: tuple[str, ...]) -> LoadReport:
    expected = module.state_dict()
    shared = [name for name in expected if name in stored]
    mismatched = {
        name: f"{name} {tuple(stored[name].shape)} for {tuple(expected[name].shape)}"
        for name in shared
        if expected[name].shape != stored[name].shape
    }
    extra = [name for name in stored if name not in expected]
    computed = _compare_computed(module, stored)
    ignored = [name for name in extra if computed.get(name, name.startswith(ignorable))]
    return LoadReport(
        loaded=tuple(name for name in shared if name not in mismatched),
        missing=tuple(name for name in expected if name not in stored),
        unexpected=tuple(
            f"{name}, whose computed values are different" if name in computed else name
            for name in extra
            if name not in ignored
        ),
        mismatched=tuple(mismatched.values()),
        ignored=tuple(ignored),
    )


def _compare_computed(module: nn.Module, stored: State) -> dict[str, bool]:
    """Return the buffers that the module computes and the file stores, and if they are equal."""
    state = module.state_dict()
    computed = {name: buffer for name, buffer in module.named_buffers() if name not in state}
    return {name: _are_equal(computed[name], stored[name]) for name in computed if name in stored}


def _are_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal where they overlap: one table may be longer."""
    if one.ndim != other.ndim:
        return False
    overlap = tuple(slice(min(sizes)) for sizes in zip(one.shape, other.shape, strict=True))
    return torch.allclose(one[overlap], other[overlap].to(one.dtype), atol=1e-5)


def _shorten(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN_NAMES
    shown = ", ".join(names[:_SHOWN_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown


__all__ = ["LoadReport", "find_weights", "load_weights"]
