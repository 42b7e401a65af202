"""The folder of a launched study: the names of its files, and the study file ``study.json``.

Beside the names below, the folder holds the files of the lock (`study.storage.lock`).
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from study.config.redaction import remove_secrets
from study.config.study import StudySpec
from study.errors import InputError, PluginError
from study.plugins.loading import load_stored_plugins
from study.storage.checksums import (
    add_json_checksum,
    read_verified,
    verify_json_checksum,
    write_verified,
)
from study.storage.storage import Storage

NAME = "study.json"
"""The study file. A folder of a storage is a study if it has this file."""
TABLE, SPLIT, CACHE = "dataset.table", "split.json", "cache.json"
"""Data set, split and address of the caches, which trials read."""
PROGRESS = "progress.json"
"""Progress of the running launch, or of the last one."""
REPORT, LOGS, SCRATCH = "report", "logs", "scratch"
"""Folders of the report, of the tracebacks of failed tasks, and of temporary files of a launch."""
RENAMING = "renaming.json"
"""New name of a study while it is being renamed; `study.runner.manage` writes and removes it."""


def write_spec(storage: Storage, spec: StudySpec) -> str:
    """Write the file of a study; return a message about a damaged old file, or ''."""
    value: dict[str, Any] = json.loads(remove_secrets(spec).model_dump_json())
    return write_verified(storage, NAME, add_json_checksum(value), _check_spec)


def read_spec(storage: Storage) -> StudySpec | None:
    """Read the file of a study; None if it was never launched.

    Raises
    ------
    InputError
        The file is damaged, was written by a version with other names, or needs a plug-in that
        is not here.
    """
    if not storage.exists(NAME):
        return None
    try:
        return read_verified(storage, NAME, _parse_spec)
    except PluginError as error:
        raise InputError(str(error)) from error


def is_damaged(storage: Storage) -> bool:
    """Whether there is a file that cannot be read, which the next launch will set aside."""
    try:
        if storage.exists(NAME):
            read_verified(storage, NAME, _check_spec)
    except InputError:
        return True
    return False


def _parse_spec(data: bytes, path: str) -> StudySpec:
    value = verify_json_checksum(data, path)
    load_stored_plugins(value.get("plugins", ()), path)
    return StudySpec.model_validate(value)


def _check_spec(data: bytes, path: str) -> None:
    """Raise for a damaged file; one that needs a missing plug-in is not damaged."""
    with suppress(PluginError):
        _parse_spec(data, path)
