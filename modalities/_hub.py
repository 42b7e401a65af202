"""Finding a checkpoint: a folder, the cache of the Hugging Face hub, or the hub itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from modalities._base import ModalityError
from modalities._checkpoint import (
    CONFIG,
    TOKENIZER_FILES,
    VOCABULARIES,
    WEIGHT_FILES,
    Checkpoint,
)
from modalities._weight_files import WEIGHTS_FOLDER, candidates

_WEIGHT_PATTERNS = (
    "model*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model*.bin",
    "pytorch_model.bin.index.json",
)


def find_checkpoint(name: str, *, revision: str | None, code: bool, weights: bool) -> Checkpoint:
    """Find a folder, else the hub's cache, else fetch from the hub.

    A relative path is also looked for in the folder that OLFACTION_WEIGHTS names.

    Parameters
    ----------
    name : str
        Path of a folder, or name on the hub.
    revision : str, optional
        Branch, tag or commit on the hub.
    code : bool
        Whether Python files may run.
    weights : bool
        Whether the weights are needed too.

    Raises
    ------
    ModalityError
        There is no such folder, and the hub cannot give it (no network, no such name); or a
        file is missing.
    """
    tried = candidates(name, WEIGHTS_FOLDER)
    folder = next((each for each in tried if each.is_dir()), None)
    if folder is None:
        places = " or ".join(map(str, tried))
        folder = _from_hub(name, revision, places, code=code, weights=weights)
    elif revision is not None:
        raise ModalityError(
            f"checkpoint '{name}' is the folder {folder}, which has no revision '{revision}'; "
            "leave revision out, or give a hub name"
        )
    checkpoint = Checkpoint(name, folder, code)
    checkpoint.require(weights=weights)
    return checkpoint


@lru_cache(maxsize=16)
def _from_hub(name: str, revision: str | None, tried: str, *, code: bool, weights: bool) -> Path:
    """Return the snapshot of a hub name; what is in the cache whole needs no network."""
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    snapshot = _Snapshot(name, revision, (CONFIG, *TOKENIZER_FILES, *(["*.py"] if code else [])))
    try:
        folder = snapshot.get(_WEIGHT_PATTERNS, cached=True)
        Checkpoint(name, folder, code).require(weights=weights)
    except (LocalEntryNotFoundError, HFValidationError):
        lacking = f"the hub's cache lacks {CONFIG}, {VOCABULARIES[0]}"
        lacking += f" and {WEIGHT_FILES[0]}" if weights else ""
    except ModalityError as error:
        lacking = f"of the hub's cache, {error}"
    else:
        return folder
    try:
        folder = snapshot.fetch(weights=weights)
        Checkpoint(name, folder, code).require(weights=weights)
    except (OSError, ValueError) as error:  # no network, no such name, no permission, no file
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        known = "it is offline" if isinstance(error, ModalityError) else reason
        raise ModalityError(
            f"checkpoint '{name}' is not on this machine: there is no folder {tried}; {lacking}; "
            f"and the hub cannot give it ({known}); correct the name, give a folder, or run "
            f"'hf download {name}' once where there is a network"
        ) from error
    return folder


@dataclass(frozen=True)
class _Snapshot:
    """Files of a hub repository that are of use here."""

    name: str
    revision: str | None
    texts: tuple[str, ...]

    def get(self, more: Iterable[str], *, cached: bool) -> Path:
        from huggingface_hub import snapshot_download

        patterns = [*self.texts, *more]
        with _no_progress_bars():
            folder = snapshot_download(
                self.name, revision=self.revision, allow_patterns=patterns, local_files_only=cached
            )
        return Path(folder)

    def fetch(self, *, weights: bool) -> Path:
        """Download what is not there; the older format of weights only without the newer."""
        folder = self.get(_WEIGHT_PATTERNS[:2] if weights else (), cached=False)
        if weights and not Checkpoint(self.name, folder).weights():
            folder = self.get(_WEIGHT_PATTERNS[2:], cached=False)
        return folder


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
