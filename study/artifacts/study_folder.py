"""The file of a launched study, ``study.json``, in its own folder."""

from __future__ import annotations

import json
from typing import Any

from study.config.redaction import without_secrets
from study.config.study import StudySpec
from study.errors import InputError
from study.storage.checksums import get_checked, put_checked, seal_json, unseal_json
from study.storage.storage import Storage

NAME = "study.json"


def write_spec(storage: Storage, spec: StudySpec) -> str:
    """Write the file of a study; return what to say if the one that was there is damaged."""
    value: dict[str, Any] = json.loads(without_secrets(spec).model_dump_json())
    return put_checked(storage, NAME, seal_json(value), _spec)


def read_spec(storage: Storage) -> StudySpec | None:
    """Read the file of a study; None if it was never launched.

    Raises
    ------
    InputError
        The file is damaged, or of a version that knew other words.
    """
    if not storage.exists(NAME):
        return None
    return get_checked(storage, NAME, _spec)


def is_damaged(storage: Storage) -> bool:
    """Whether there is a file that cannot be read: the next launch sets it aside."""
    try:
        read_spec(storage)
    except InputError:
        return True
    return False


def _spec(data: bytes, place: str) -> StudySpec:
    return StudySpec.model_validate(unseal_json(data, place))
