"""Where files of weights are, No torch: study files are checked with it."""

from __future__ import annotations

import os
from pathlib import Path

from modalities._base import ModalityError

WEIGHTS_FOLDER = "OLFACTION_WEIGHTS"
IN_FOLDER = "weights.pt"
"""The checkpoint in a folder made by a pretraining."""


def candidates(path: str, variable: str) -> list[Path]:
    """Return where a path may be: as it is, and if relative also below the folder of a variable."""
    given = Path(path).expanduser()
    folder = os.environ.get(variable)
    if folder is None or given.is_absolute():
        return [given]
    return [given, Path(folder).expanduser() / given]


def find_weights(path: str) -> Path:
    """Resolve the path of a checkpoint: a file, or a folder that holds ``weights.pt``.

    A relative path that is not there is looked for in the folder that the environment variable
    OLFACTION_WEIGHTS names, so that a study file can be shared between machines.

    Raises
    ------
    ModalityError
        There is no such file.
    """
    tried = candidates(path, WEIGHTS_FOLDER)
    for candidate in tried:
        for file in (candidate, candidate / IN_FOLDER):
            if file.is_file():
                return file
    raise ModalityError(
        f"weights '{path}' not found (tried {', '.join(map(str, tried))}; a folder must hold "
        f"{IN_FOLDER}); correct the path, or set {WEIGHTS_FOLDER} to the folder it is relative to"
    )
