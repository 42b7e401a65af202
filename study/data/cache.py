"""Curated tables on disk, found by what they were made from."""

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
from study.storage.checksums import UNREADABLE, LedgerError
from study.storage.storage import Storage

Note = Callable[[str], None]


class CacheWarning(UserWarning):
    """A stored table was damaged; it was set aside and made again."""


def load_or_build(
    recipe: DatasetConfig, cache: Path | Storage, note: Note | None = None
) -> OdorDataset:
    """Curated table of a recipe, from the storage where it was made before.

    An entry is keyed by the recipe, the sha256 of every source file, the code of this folder
    and the RDKit version, so it is never stale. It is written whole or not at all and checked
    when read; a damaged one is set aside as ``*.corrupt``, made again, and said.

    Parameters
    ----------
    recipe : DatasetConfig
    cache : Path or Storage
        Folder of the entries.
    note : function, optional
        Told of a damaged entry; without it there is a `CacheWarning`.

    Raises
    ------
    InputError
        As `build_dataset`.
    StorageError
        The cache folder cannot be written.
    """
    storage = cache if isinstance(cache, Storage) else Storage(str(cache))
    name = f"{entry_key(recipe)}.table"
    stored = _read(storage, name, note or _warn)
    if stored is not None:
        return stored
    from study.data.curation import build_dataset  # RDKit: not needed for a stored table

    dataset = build_dataset(recipe)
    storage.write(name, add_table_checksum(dataset))
    return dataset


def entry_key(recipe: DatasetConfig) -> str:
    """Sha256 of everything that decides the table."""
    files = [digest_files(choice.build().files(recipe.folder())) for choice in recipe.sources]
    parts = [recipe.identity(), json.dumps(files, sort_keys=True), code_digest()]
    return sha256_of("\n".join([*parts, version("rdkit")]))


@cache
def code_digest() -> str:
    """Sha256 over the code and tables of this folder: any edit makes a new entry."""
    state = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".csv"):
            state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def _read(storage: Storage, name: str, note: Note) -> OdorDataset | None:
    try:
        return verify_table_checksum(storage.read(name), storage.path(name))
    except FileNotFoundError:
        return None
    except LedgerError as error:
        note(f"damaged table set aside and made again: {storage.quarantine(name)} ({error})")
        return None


def _warn(text: str) -> None:
    warnings.warn(text, CacheWarning, stacklevel=4)


def add_table_checksum(dataset: OdorDataset) -> bytes:
    """Serialise a table with its checksum."""
    payload = pack(dataset)
    return sha256_of(payload).encode() + b"\n" + payload


def verify_table_checksum(data: bytes, place: str) -> OdorDataset:
    """Rebuild what `add_table_checksum` wrote, or `pack` before there was a checksum.

    Raises
    ------
    LedgerError
        A byte differs from what was written.
    """
    digest, _, payload = data.partition(b"\n")
    if data.startswith(b"PK"):
        payload = data
    elif sha256_of(payload).encode() != digest:
        raise LedgerError(f"{place}: the checksum does not fit; the table is damaged")
    try:
        dataset = unpack(payload)
        texts = (dataset.name, *dataset.smiles, *dataset.label_names, *dataset.sources.values())
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("names must be texts")
    except UNREADABLE as error:
        raise LedgerError(f"{place}: no table, or a damaged one ({error})") from error
    return dataset


def pack(dataset: OdorDataset) -> bytes:
    """Serialise a table without pickle."""
    head = {
        "name": dataset.name,
        "label_names": dataset.label_names,
        "steps": [asdict(step) for step in dataset.steps],
        "sources": dict(dataset.sources),
    }
    ratings = np.empty(0, np.float32) if dataset.ratings is None else dataset.ratings
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        head=np.array(json.dumps(head)),
        smiles=np.array(dataset.smiles),
        labels=dataset.labels,
        ratings=ratings,
    )
    return buffer.getvalue()


def unpack(payload: bytes) -> OdorDataset:
    """Rebuild what `pack` wrote."""
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        head = json.loads(str(arrays["head"]))
        return OdorDataset(
            name=head["name"],
            smiles=tuple(arrays["smiles"].tolist()),
            labels=arrays["labels"],
            label_names=tuple(head["label_names"]),
            ratings=arrays["ratings"] if arrays["ratings"].size else None,
            steps=tuple(CurationStep(**step) for step in head["steps"]),
            sources=head["sources"],
        )
