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

WRAPPED, PARALLEL = "state_dict", "module."
"""Key of the state dict beside optimizer and epoch; prefix of names saved by DataParallel."""

State = Mapping[str, torch.Tensor]
"""Name of a weight -> its values."""


def read_state(path: Path, *, sha256: str | None, prefix: str) -> State:
    """Read the state dict of a checkpoint, without the prefixes of its names.

    Parameters
    ----------
    path : Path
        Saved by ``torch.save``: a state dict, or a dict that holds one as ``state_dict``; names
        may all begin with ``module.``.
    sha256 : str, optional
        Hash that the file must have; checked before anything in it is read.
    prefix : str
        What names of the wanted part begin with, if the file has more parts; may be empty.

    Raises
    ------
    ModalityError
        The file has another hash, is damaged or is no state dict.
    """
    _check_hash(path, sha256)
    state = _unwrapped(_load(path), path)
    if all(name.startswith(PARALLEL) for name in state):
        state = {name.removeprefix(PARALLEL): value for name, value in state.items()}
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
    found = sha256_of(path)
    if found != sha256.lower():
        raise ModalityError(
            f"weights {path} have sha256 {found}, not {sha256}; fetch the file again, "
            "or correct the hash if you mean this file"
        )


def _load(path: Path) -> Any:  # noqa: ANN401 (whatever was saved)
    try:
        with warnings.catch_warnings():  # a foreign pickle: refused below, or as good as any
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ModalityError(
            f"weights {path} cannot be read ({type(error).__name__}): the file is damaged, cut "
            "short or holds more than tensors; fetch it again"
        ) from error


def _unwrapped(saved: Any, path: Path) -> State:  # noqa: ANN401 (whatever was saved)
    wrapped = isinstance(saved, Mapping) and isinstance(saved.get(WRAPPED), Mapping)
    state: State = saved[WRAPPED] if wrapped else saved
    tensors = isinstance(state, Mapping) and all(
        isinstance(name, str) and torch.is_tensor(value) for name, value in state.items()
    )
    if not tensors:
        raise ModalityError(
            f"weights {path} are not a state dict (names -> tensors) but {type(state).__name__}; "
            "save module.state_dict()"
        )
    return state


_SHOWN_NAMES = 4


@dataclass(frozen=True)
class LoadReport:
    """What a checkpoint and a module have in common, by parameter name.

    Attributes
    ----------
    loaded, missing, unexpected : tuple of str
        In both with the same shape; only in the module; only in the file.
    mismatched : tuple of str
        In both with different shapes, with the shapes.
    ignored : tuple of str
        Only in the file, and not needed: declared so, or a table that the module computes and
        that agrees with its own.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether every weight of the module is in the file and nothing undeclared is left."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lists = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.mismatched,
        }
        found = [f"{len(names)} {what} ({_some(names)})" for what, names in lists.items() if names]
        wanted = len(self.loaded) + len(self.missing) + len(self.mismatched)
        return "; ".join([f"{len(self.loaded)} of {wanted} weights match", *found])


def load_weights(
    module: nn.Module,
    path: Path,
    *,
    sha256: str | None = None,
    prefix: str = "",
    ignorable: Collection[str] = (),
    convert: Callable[[State], State] | None = None,
) -> LoadReport:
    """Load a checkpoint into a module, exactly.

    Parameters
    ----------
    module : nn.Module
        Its state dict names and shapes every weight that the file must have.
    path : Path
        A state dict saved by ``torch.save``, or a dict that holds one as ``state_dict``; names
        may all begin with ``module.``. Nothing but tensors and plain values is unpickled.
    sha256 : str, optional
        Hash that the file must have; checked before anything in it is read.
    prefix : str
        What names begin with if the file is of a larger network that has this module as a part.
    ignorable : collection of str
        Name prefixes of weights that the file may have and the module has no use for.
    convert : function, optional
        Turns the state dict of another layout, without `prefix`, into that of the module; what it
        does not know it must leave as it is.

    Raises
    ------
    ModalityError
        The file has another hash, is damaged, is no state dict, or is one of another
        architecture; the module is as it was.
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
    wanted = module.state_dict()
    shared = [name for name in wanted if name in stored]
    misfits = {
        name: f"{name} {tuple(stored[name].shape)} for {tuple(wanted[name].shape)}"
        for name in shared
        if wanted[name].shape != stored[name].shape
    }
    extra = [name for name in stored if name not in wanted]
    known = _computed(module, stored)
    ignored = [name for name in extra if known.get(name, name.startswith(ignorable))]
    return LoadReport(
        loaded=tuple(name for name in shared if name not in misfits),
        missing=tuple(name for name in wanted if name not in stored),
        unexpected=tuple(
            f"{name}, which is computed here otherwise" if name in known else name
            for name in extra
            if name not in ignored
        ),
        mismatched=tuple(misfits.values()),
        ignored=tuple(ignored),
    )


def _computed(module: nn.Module, stored: State) -> dict[str, bool]:
    """Buffers that the module computes and the file has: whether they agree where both reach."""
    kept = module.state_dict()
    ours = {name: buffer for name, buffer in module.named_buffers() if name not in kept}
    return {name: _agree(ours[name], stored[name]) for name in ours if name in stored}


def _agree(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    if ours.ndim != theirs.ndim:
        return False
    both = tuple(slice(min(sizes)) for sizes in zip(ours.shape, theirs.shape, strict=True))
    return torch.allclose(ours[both], theirs[both].to(ours.dtype), atol=1e-5)


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN_NAMES
    shown = ", ".join(names[:_SHOWN_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown


__all__ = ["LoadReport", "find_weights", "load_weights"]
