"""Read and write the file of a launched study, ``study.json`` in the study's folder."""

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
