"""Checkpoints of Hugging Face models: found in a folder or fetched from the hub at a revision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from modalities._base import ModalityError
from modalities.store.files import sha256_of
from modalities.weights.locate import WEIGHTS_FOLDER, candidates

CONFIG = "config.json"
VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
"""Files one of which a tokenizer needs; the first one there decides."""
TOKENIZER_FILES = (
    *VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Files one of which holds or lists the weights; the first one there is loaded."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a configuration, a tokenizer and mostly weights.

    Attributes
    ----------
    name : str
        As the user gave it, for messages.
    folder : Path
    code : bool
        Whether Python files of the folder may run, and count for the digest.
    """

    name: str
    folder: Path
    code: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """Content of config.json.

        Raises
        ------
        ModalityError
            The file is not a JSON mapping.
        """
        return self.json(CONFIG)

    def json(self, file: str) -> dict[str, Any]:
        """Content of a JSON file; empty where there is none."""
        path = self.folder / file
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise self.damaged(file, error) from error
        if not isinstance(content, dict):
            raise self.damaged(file, ValueError("no mapping"))
        return content

    def damaged(self, file: str, error: Exception) -> ModalityError:
        """Say that a file cannot be read."""
        return ModalityError(
            f"checkpoint '{self.name}': {self.folder / file} cannot be read "
            f"({type(error).__name__}: {error}); it is damaged or cut short: fetch it again"
        )

    def require(self, *, weights: bool) -> None:
        """Refuse a folder that lacks a file.

        Raises
        ------
        ModalityError
            The message names the file, and every name that would do.
        """
        needs = [(CONFIG,), VOCABULARIES, *([WEIGHT_FILES] if weights else [])]
        for names in needs:
            if not self._present(names):
                others = f" (or {', '.join(names[1:])})" if names[1:] else ""
                raise ModalityError(
                    f"checkpoint '{self.name}': {self.folder} lacks {names[0]}{others}; copy the "
                    "file into the folder, or save model and tokenizer there with save_pretrained"
                )
        if weights:
            self.weights()

    def texts(self) -> list[str]:
        """Files of configuration, tokenizer and, where it may run, code."""
        code = sorted(p.name for p in self.folder.glob("*.py")) if self.code else []
        return [*self._present((CONFIG, *TOKENIZER_FILES)), *code]

    def weights(self) -> list[str]:
        """Files that hold the weights.

        Raises
        ------
        ModalityError
            A file that the index lists is missing, or there are no weights.
        """
        found = self._present(WEIGHT_FILES)[:1]
        if found and found[0].endswith(".json"):
            parts = sorted(set(self.json(found[0]).get("weight_map", {}).values()))
            lost = [part for part in parts if not (self.folder / part).is_file()]
            if lost:
                raise ModalityError(
                    f"checkpoint '{self.name}': {self.folder} lacks {lost[0]}, which {found[0]} "
                    "lists; fetch it"
                )
            found += parts
        return found

    def digest(self, *, weights: bool) -> str:
        """Sha256 over the files that matter, as ``sha256sum FILES | sha256sum`` gives it.

        The files, in alphabetical order: configuration, tokenizer, code where it may run and,
        on demand, the weights that would be loaded. Other files do not count.
        """
        files = sorted(self.texts() + (self.weights() if weights else []))
        lines = [f"{_sha256(self.folder / name)}  {name}\n" for name in files]
        return sha256_of("".join(lines))

    def _present(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if (self.folder / name).is_file()]


def _sha256(path: Path) -> str:
    """Hash a file, once for as long as time and size stay: versions are asked for often."""
    stat = path.stat()
    return _hashed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _hashed(path: Path, modified: int, size: int) -> str:  # noqa: ARG001 (stamps of the content)
    return sha256_of(path)


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
