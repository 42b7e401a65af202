"""The folder of a launched study: the names of its files, and the study file ``study.json``.

Beside the names below, the folder holds the files of the lock (`study.storage.lock`).
"""

from __future__ import annotations

import json
from typing import Any

from study.config.redaction import remove_secrets
from study.config.study import StudySpec
from study.errors import InputError
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
    return write_verified(storage, NAME, add_json_checksum(value), _parse_spec)


def read_spec(storage: Storage) -> StudySpec | None:
    """Read the file of a study; None if it was never launched.

    Raises
    ------
    InputError
        The file is damaged, or was written by a version with other names.
    """
    if not storage.exists(NAME):
        return None
    return read_verified(storage, NAME, _parse_spec)


def is_damaged(storage: Storage) -> bool:
    """Whether there is a file that cannot be read, which the next launch will set aside."""
    try:
        read_spec(storage)
    except InputError:
        return True
    return False


def _parse_spec(data: bytes, path: str) -> StudySpec:
    return StudySpec.model_validate(verify_json_checksum(data, path))
