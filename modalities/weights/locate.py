"""Search for weight files. No torch, because study files are checked with it."""

from __future__ import annotations

import os
from pathlib import Path

from modalities._base import ModalityError

WEIGHTS_FOLDER = "OLFACTION_WEIGHTS"
"""Environment variable with the folder of weights."""
WEIGHTS_FILE = "weights.pt"
"""Name of the checkpoint in a folder written by a pretraining."""


def list_candidate_paths(path: str, variable: str) -> list[Path]:
    """Return the paths to try: the path itself and, if relative, also below a folder.

    Parameters
    ----------
    path : str
    variable : str
        Environment variable with the folder.
    """
    original = Path(path).expanduser()
    folder = os.environ.get(variable)
    if folder is None or original.is_absolute():
        return [original]
    return [original, Path(folder).expanduser() / original]


def find_weights(path: str) -> Path:
    """Resolve the path of a checkpoint: a file, or a folder that contains ``weights.pt``.

    A relative path that does not exist is also looked for in the folder that the environment
    variable OLFACTION_WEIGHTS names, so that machines can share a study file.

    Raises
    ------
    ModalityError
        There is no such file.
    """
    paths = list_candidate_paths(path, WEIGHTS_FOLDER)
    for candidate in paths:
        for file in (candidate, candidate / WEIGHTS_FILE):
            if file.is_file():
                return file
    raise ModalityError(
        f"weights '{path}' not found (tried {', '.join(map(str, paths))}; a folder must hold "
        f"{WEIGHTS_FILE}); correct the path, or set {WEIGHTS_FOLDER} to the folder it is relative "
        "to"
    )
