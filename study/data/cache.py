"""A cache of curated data sets, keyed by everything they are built from."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from modalities import sha256_of
from study.data.dataset import CurationStep, OdorDataset
from study.data.recipe import DatasetConfig
from study.data.source import digest_files
from study.plugins.registry import Registry
from study.storage.checksums import UNREADABLE, LedgerError
from study.storage.storage import Storage

Note = Callable[[str], None]


class CacheWarning(UserWarning):
    """A cached data set was damaged; it was quarantined and built again."""


def load_or_build(
    recipe: DatasetConfig, cache: Path | Storage, note: Note | None = None
) -> OdorDataset:
    """Return the data set of a recipe, from the cache or newly built.

    An entry is keyed by the recipe, the sha256 of every source file, the code of this folder or
    of a plug-in, and the RDKit version, so it is never stale. It is written atomically and
    verified when read; a damaged entry is renamed to ``*.corrupt``, reported, and built again.

    Parameters
    ----------
    recipe : DatasetConfig
    cache : Path or Storage
        Folder of the entries.
    note : function, optional
        Called with a message about a damaged entry; default: a `CacheWarning`.

    Raises
    ------
    InputError
        As for `build_dataset`.
    StorageError
        The cache folder cannot be written.
    """
    storage = cache if isinstance(cache, Storage) else Storage(str(cache))
    name = f"{entry_key(recipe)}.table"
    stored = _read_entry(storage, name, note or _warn)
    if stored is not None:
        return stored
    from study.data.curation import build_dataset  # RDKit: not needed for a stored table

    dataset = build_dataset(recipe)
    storage.write(name, add_table_checksum(dataset))
    return dataset


def entry_key(recipe: DatasetConfig) -> str:
    """Return the sha256 of everything that determines the data set of a recipe."""
    files = [digest_files(choice.build().files(recipe.folder())) for choice in recipe.sources]
    parts = [recipe.identity(), json.dumps(files, sort_keys=True), code_digest()]
    plugins = [Registry("source").version(choice.source) for choice in recipe.sources]
    return sha256_of("\n".join([*parts, version("rdkit"), *filter(None, plugins)]))


@cache
def code_digest() -> str:
    """Return the sha256 of the code and tables of this folder: any edit makes a new entry."""
    state = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".csv"):
            state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def _read_entry(storage: Storage, name: str, note: Note) -> OdorDataset | None:
    try:
        return verify_table_checksum(storage.read(name), storage.path(name))
    except FileNotFoundError:
        return None
    except LedgerError as error:
        note(f"damaged data set set aside as {storage.quarantine(name)}, rebuilt ({error})")
        return None


def _warn(text: str) -> None:
    warnings.warn(text, CacheWarning, stacklevel=4)


def add_table_checksum(dataset: OdorDataset) -> bytes:
    """Serialise a data set with its checksum."""
    payload = pack(dataset)
    return sha256_of(payload).encode() + b"\n" + payload


def verify_table_checksum(data: bytes, place: str) -> OdorDataset:
    """Read the bytes of `add_table_checksum`, or of a version that wrote no checksum.

    Raises
    ------
    LedgerError
        A byte differs from what was written.
    """
    digest, _, payload = data.partition(b"\n")
    if data.startswith(b"PK"):  # a bare zip archive, from before there was a checksum
        payload = data
    elif sha256_of(payload).encode() != digest:
        raise LedgerError(f"{place}: the checksum does not match; the data set is damaged")
    try:
        dataset = unpack(payload)
        texts = (dataset.name, *dataset.smiles, *dataset.label_names, *dataset.sources.values())
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("names must be strings")
    except UNREADABLE as error:
        raise LedgerError(f"{place}: not a data set, or damaged ({error})") from error
    return dataset


def pack(dataset: OdorDataset) -> bytes:
    """Serialise a data set without pickle."""
    header = {
        "name": dataset.name,
        "label_names": dataset.label_names,
        "steps": [asdict(step) for step in dataset.steps],
        "sources": dict(dataset.sources),
    }
    ratings = np.empty(0, np.float32) if dataset.ratings is None else dataset.ratings
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        head=np.array(json.dumps(header)),
        smiles=np.array(dataset.smiles),
        labels=dataset.labels,
        ratings=ratings,
    )
    return buffer.getvalue()


def unpack(payload: bytes) -> OdorDataset:
    """Read the bytes of `pack`."""
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        header = json.loads(str(arrays["head"]))
        return OdorDataset(
            name=header["name"],
            smiles=tuple(arrays["smiles"].tolist()),
            labels=arrays["labels"],
            label_names=tuple(header["label_names"]),
            ratings=arrays["ratings"] if arrays["ratings"].size else None,
            steps=tuple(CurationStep(**step) for step in header["steps"]),
            sources=header["sources"],
        )
