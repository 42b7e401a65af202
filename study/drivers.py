"""The drivers of fsspec: a file system for a URL, and one kind of error whatever the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import fsspec

from study.errors import InputError, StorageError


def open_url(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it."""
    parts = urlsplit(url)
    if parts.scheme and parts.password is not None:
        raise InputError(
            f"storage '{parts.scheme}://...@{parts.hostname}{parts.path}' holds a password, which "
            "would be written into every study file: leave it out, and give it to the store's own "
            "settings (for s3:// the environment or ~/.aws/credentials)"
        )
    try:
        fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"storage '{url}' cannot be used here ({error}); install what it names (for s3:// "
            "pip install 'olfaction-study[s3]'), or give a path"
        ) from error
    return fs, str(root).rstrip("/") or "/"


def bytes_of(found: object) -> bytes:
    """Return what was read; raise what was met instead."""
    if isinstance(found, Exception):
        raise found
    return bytes(found)  # type: ignore[call-overload, no-any-return]  # bytes, says fsspec


@contextmanager
def as_os_errors(*, local: bool) -> Iterator[None]:
    """Turn the errors of an object store's driver into OSError, as those of a disk are."""
    try:
        yield
    except (OSError, StorageError, GeneratorExit):
        raise
    except Exception as error:
        if local:
            raise
        raise OSError(f"{type(error).__name__}: {error}") from error  # drivers share no base class
