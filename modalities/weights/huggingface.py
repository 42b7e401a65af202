"""Checkpoints of Hugging Face models, in a folder or on the hub."""

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
from modalities.weights.locate import WEIGHTS_FOLDER, list_candidate_paths

CONFIG = "config.json"
VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
"""Vocabulary files, of which a tokenizer needs one."""
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
"""Files that contain or list the weights; the first of them that exists is loaded."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a configuration, a tokenizer and usually weights.

    Attributes
    ----------
    name : str
        Name as written by the user, for messages.
    folder : Path
    trust_code : bool
        Whether Python files of the folder may run, and are part of the digest.
    """

    name: str
    folder: Path
    trust_code: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """Content of config.json.

        Raises
        ------
        ModalityError
            The file is not a JSON mapping.
        """
        return self.read_json(CONFIG)

    def read_json(self, file: str) -> dict[str, Any]:
        """Read a JSON file; a missing one is empty.

        Raises
        ------
        ModalityError
            The file is not a JSON mapping.
        """
        path = self.folder / file
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise self.build_read_error(file, error) from error
        if not isinstance(content, dict):
            raise self.build_read_error(file, ValueError("not a mapping"))
        return content

    def build_read_error(self, file: str, error: Exception) -> ModalityError:
        """Build the error for a file that cannot be read."""
        return ModalityError(
            f"checkpoint '{self.name}': {self.folder / file} cannot be read "
            f"({type(error).__name__}: {error}); it is damaged or cut short: fetch it again"
        )

    def require(self, *, weights: bool) -> None:
        """Check that the folder has all files that are needed.

        Raises
        ------
        ModalityError
            A file is missing; the message states its name and its alternatives.
        """
        groups = [(CONFIG,), VOCABULARIES, *([WEIGHT_FILES] if weights else [])]
        for names in groups:
            if not self._filter_present(names):
                others = f" (or {', '.join(names[1:])})" if names[1:] else ""
                raise ModalityError(
                    f"checkpoint '{self.name}': {self.folder} lacks {names[0]}{others}; copy the "
                    "file into the folder, or save model and tokenizer there with save_pretrained"
                )
        if weights:
            self.list_weights()

    def list_texts(self) -> list[str]:
        """Return the files of configuration, tokenizer and, if it may run, code."""
        code = sorted(p.name for p in self.folder.glob("*.py")) if self.trust_code else []
        return [*self._filter_present((CONFIG, *TOKENIZER_FILES)), *code]

    def list_weights(self) -> list[str]:
        """Return the files that contain the weights, with their index; empty if there are none.

        Raises
        ------
        ModalityError
            A file that the index lists is missing.
        """
        files = self._filter_present(WEIGHT_FILES)[:1]
        if files and files[0].endswith(".json"):
            parts = sorted(set(self.read_json(files[0]).get("weight_map", {}).values()))
            missing = [part for part in parts if not (self.folder / part).is_file()]
            if missing:
                raise ModalityError(
                    f"checkpoint '{self.name}': {self.folder} lacks {missing[0]}, which "
                    f"{files[0]} lists; fetch it"
                )
            files += parts
        return files

    def digest(self, *, weights: bool) -> str:
        """Compute the sha256 of the relevant files, as ``sha256sum FILES | sha256sum`` prints it.

        The files are, in alphabetical order, those of configuration and tokenizer, the code if it
        may run and, if `weights`, the weights that would be loaded.
        """
        files = sorted(self.list_texts() + (self.list_weights() if weights else []))
        lines = [f"{_hash_file(self.folder / name)}  {name}\n" for name in files]
        return sha256_of("".join(lines))

    def _filter_present(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if (self.folder / name).is_file()]


def _hash_file(path: Path) -> str:
    """Hash a file; cached until its time or size changes, because versions are read often."""
    stat = path.stat()
    return _hash_version(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _hash_version(path: Path, modified: int, size: int) -> str:  # noqa: ARG001 (key of the cache)
    return sha256_of(path)


_WEIGHT_PATTERNS = (
    "model*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model*.bin",
    "pytorch_model.bin.index.json",
)


def find_checkpoint(
    name: str, *, revision: str | None, trust_code: bool, weights: bool
) -> Checkpoint:
    """Find a checkpoint: a folder, else in the hub's cache, else download it from the hub.

    A relative path is also looked for in the folder that OLFACTION_WEIGHTS names.

    Parameters
    ----------
    name : str
        Path of a folder, or name on the hub.
    revision : str, optional
        Branch, tag or commit on the hub.
    trust_code : bool
        Whether Python files of the checkpoint may run.
    weights : bool
        Whether the weights are needed too.

    Raises
    ------
    ModalityError
        There is no such folder, and the hub cannot provide it (no network, no such name); or a
        file is missing.
    """
    paths = list_candidate_paths(name, WEIGHTS_FOLDER)
    folder = next((path for path in paths if path.is_dir()), None)
    if folder is None:
        tried = " or ".join(map(str, paths))
        folder = _find_on_hub(name, revision, tried, trust_code=trust_code, weights=weights)
    elif revision is not None:
        raise ModalityError(
            f"checkpoint '{name}' is the folder {folder}, which has no revision '{revision}'; "
            "leave revision out, or give a hub name"
        )
    checkpoint = Checkpoint(name, folder, trust_code)
    checkpoint.require(weights=weights)
    return checkpoint


@lru_cache(maxsize=16)
def _find_on_hub(
    name: str, revision: str | None, tried: str, *, trust_code: bool, weights: bool
) -> Path:
    """Return the snapshot of a hub name; a complete one in the cache needs no network.

    `tried` lists the folders that were looked for before, for the message.
    """
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    code = ("*.py",) if trust_code else ()
    snapshot = _Snapshot(name, revision, (CONFIG, *TOKENIZER_FILES, *code))
    try:
        folder = snapshot.read(_WEIGHT_PATTERNS, cached=True)
        Checkpoint(name, folder, trust_code).require(weights=weights)
    except (LocalEntryNotFoundError, HFValidationError):
        missing = f"the hub's cache lacks {CONFIG}, {VOCABULARIES[0]}"
        missing += f" and {WEIGHT_FILES[0]}" if weights else ""
    except ModalityError as error:
        missing = f"in the hub's cache, {error}"
    else:
        return folder
    try:
        folder = snapshot.download(weights=weights)
        Checkpoint(name, folder, trust_code).require(weights=weights)
    except (OSError, ValueError) as error:  # no network, no such name, no permission, no file
        if isinstance(error, ModalityError):  # the library returned an incomplete snapshot
            reason = "it is offline, or its repository lacks a file"
        else:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise ModalityError(
            f"checkpoint '{name}' is not on this machine: there is no folder {tried}; {missing}; "
            f"and the hub cannot provide it ({reason}); correct the name, give a folder, or run "
            f"'hf download {name}' once where there is a network"
        ) from error
    return folder


@dataclass(frozen=True)
class _Snapshot:
    """The files of a hub repository that are needed here.

    Attributes
    ----------
    name : str
    revision : str or None
    texts : tuple of str
        Name patterns of the files other than weights.
    """

    name: str
    revision: str | None
    texts: tuple[str, ...]

    def read(self, patterns: Iterable[str], *, cached: bool) -> Path:
        """Return the folder with the texts and the files of these patterns."""
        from huggingface_hub import snapshot_download

        with _hide_progress_bars():
            folder = snapshot_download(
                self.name,
                revision=self.revision,
                allow_patterns=[*self.texts, *patterns],
                local_files_only=cached,
            )
        return Path(folder)

    def download(self, *, weights: bool) -> Path:
        """Download missing files; weights in the older format only if there are no newer ones."""
        folder = self.read(_WEIGHT_PATTERNS[:2] if weights else (), cached=False)
        if weights and not Checkpoint(self.name, folder).list_weights():
            folder = self.read(_WEIGHT_PATTERNS[2:], cached=False)
        return folder


@contextmanager
def _hide_progress_bars() -> Iterator[None]:
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
