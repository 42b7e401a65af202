"""Reading the files that networks are saved in: nothing in them is trusted, nothing is run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from modalities._base import ModalityError
from modalities._storage import sha256_of

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
