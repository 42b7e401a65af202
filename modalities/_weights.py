"""Strict loading of checkpoints: either every weight is the file's, or an error says why not."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalities._base import ModalityError

WEIGHTS_FOLDER = "OLFACTION_WEIGHTS"
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
        Only in the file, and declared by the module as not needed.
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
        return "; ".join([f"{len(self.loaded)} weights match", *found])


def find_weights(path: str) -> Path:
    """Resolve the path of a checkpoint.

    A relative path that is not there is looked for in the folder that the environment variable
    OLFACTION_WEIGHTS names, so that a study file can be shared between machines.

    Raises
    ------
    ModalityError
        There is no such file.
    """
    given = Path(path).expanduser()
    folder = os.environ.get(WEIGHTS_FOLDER)
    tried = [given] if folder is None else [given, Path(folder).expanduser() / given]
    for candidate in tried:
        if candidate.is_file():
            return candidate
    raise ModalityError(
        f"weights '{path}' not found (tried {', '.join(map(str, tried))}); "
        f"correct the path, or set {WEIGHTS_FOLDER} to the folder it is relative to"
    )


def load_weights(
    module: nn.Module, path: Path, *, sha256: str | None = None, ignorable: Collection[str] = ()
) -> LoadReport:
    """Load a checkpoint into a module, exactly.

    Parameters
    ----------
    module : nn.Module
        Its state dict names and shapes every weight that the file must have.
    path : Path
        A state dict saved by ``torch.save``. Nothing but tensors is unpickled.
    sha256 : str, optional
        Hash that the file must have; checked before anything in it is read.
    ignorable : collection of str
        Name prefixes of weights that the file may have and the module has no use for.

    Raises
    ------
    ModalityError
        The file has another hash, is damaged, is no state dict, or is one of another
        architecture; the module is as it was.
    """
    _check_hash(path, sha256)
    stored = _read_state(path)
    report = _compare(module.state_dict(), stored, tuple(ignorable))
    if not report.exact:
        raise ModalityError(
            f"weights {path} are of another architecture than {type(module).__name__}: {report}; "
            "choose the encoder they were saved from"
        )
    module.load_state_dict({name: stored[name] for name in report.loaded})
    return report


def _check_hash(path: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise ModalityError(
            f"weights {path} have sha256 {found}, not {sha256}; fetch the file again, "
            "or correct the hash if you mean this file"
        )


def _read_state(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():  # a foreign pickle: refused below, or as good as any
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ModalityError(
            f"weights {path} cannot be read ({type(error).__name__}): the file is damaged, cut "
            "short or holds more than tensors; fetch it again"
        ) from error
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise ModalityError(
            f"weights {path} are not a state dict (names -> tensors) but {type(state).__name__}; "
            "save module.state_dict()"
        )
    return state


def _compare(
    wanted: Mapping[str, torch.Tensor],
    stored: Mapping[str, torch.Tensor],
    ignorable: tuple[str, ...],
) -> LoadReport:
    shared = [name for name in wanted if name in stored]
    extra = [name for name in stored if name not in wanted]
    return LoadReport(
        loaded=tuple(name for name in shared if wanted[name].shape == stored[name].shape),
        missing=tuple(name for name in wanted if name not in stored),
        unexpected=tuple(name for name in extra if not name.startswith(ignorable)),
        mismatched=tuple(
            f"{name} {tuple(stored[name].shape)} for {tuple(wanted[name].shape)}"
            for name in shared
            if wanted[name].shape != stored[name].shape
        ),
        ignored=tuple(name for name in extra if name.startswith(ignorable)),
    )


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN_NAMES
    shown = ", ".join(names[:_SHOWN_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown
