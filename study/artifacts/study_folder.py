"""The file of a launched study, ``study.json``, in its own folder."""

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
    """Write the file of a study; return what to say if the one that was there is damaged."""
    value: dict[str, Any] = json.loads(remove_secrets(spec).model_dump_json())
    return write_verified(storage, NAME, add_json_checksum(value), _spec)


def read_spec(storage: Storage) -> StudySpec | None:
    """Read the file of a study; None if it was never launched.

    Raises
    ------
    InputError
        The file is damaged, or of a version that knew other words.
    """
    if not storage.exists(NAME):
        return None
    return read_verified(storage, NAME, _spec)


def is_damaged(storage: Storage) -> bool:
    """Whether there is a file that cannot be read: the next launch sets it aside."""
    try:
        read_spec(storage)
    except InputError:
        return True
    return False


def _spec(data: bytes, place: str) -> StudySpec:
    return StudySpec.model_validate(verify_json_checksum(data, place))
