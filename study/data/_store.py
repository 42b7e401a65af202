"""Curated tables on disk, found by what they were made from."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from study.data._dataset import CurationStep, OdorDataset
from study.data._recipe import Recipe
from study.data._source import digests
from study.errors import InputError
from study.storage import write_atomic

_DIGEST = 64  # characters of a sha256 in hex, the first line of an entry


class CacheWarning(UserWarning):
    """A stored table was damaged; it was set aside and made again."""


def load_or_build(recipe: Recipe, cache_dir: Path) -> OdorDataset:
    """Curated table of a recipe, from the disk where it was made before.

    An entry is keyed by the recipe, the sha256 of every source file, the code of this folder
    and the RDKit version, so it is never stale. It is written whole or not at all and checked
    when read; a damaged one is set aside under a name with ``.damaged``, made again, and said
    with a `CacheWarning`.

    Raises
    ------
    InputError
        As `build_dataset`; or the cache folder cannot be written.
    """
    path = cache_dir / f"{entry_key(recipe)}.table"
    stored = _read(path)
    if stored is not None:
        return stored
    from study.data._curate import build_dataset  # RDKit: not needed for a stored table

    dataset = build_dataset(recipe)
    _write(path, dataset)
    return dataset


def entry_key(recipe: Recipe) -> str:
    """Sha256 of everything that decides the table."""
    files = [digests(choice.build().files(recipe.folder())) for choice in recipe.sources]
    parts = [recipe.identity(), json.dumps(files, sort_keys=True), code_digest()]
    return hashlib.sha256("\n".join([*parts, version("rdkit")]).encode()).hexdigest()


@cache
def code_digest() -> str:
    """Sha256 over the code and tables of this folder: any edit makes a new entry."""
    state = hashlib.sha256()
    for path in sorted(Path(__file__).parent.iterdir()):
        if path.suffix in (".py", ".csv"):
            state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def _read(path: Path) -> OdorDataset | None:
    if not path.is_file():
        return None
    digest, _, payload = path.read_bytes().partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() == digest:
        return unpack(payload)
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    warnings.warn(
        f"stored table {path.name} is damaged: set aside as {aside}, made again",
        CacheWarning,
        stacklevel=3,
    )
    return None


def _write(path: Path, dataset: OdorDataset) -> None:
    payload = pack(dataset)
    content = hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload
    try:
        write_atomic(path, content)
    except OSError as error:
        raise InputError(f"cannot write curated tables under {path.parent}: {error}") from error


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
