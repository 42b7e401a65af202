"""Features on disk, addressed by content and shared between processes by file locks."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from modalities._base import Modality, ModalityError, ModalityFeatures, Record
from modalities.store.arrays import CorruptFileError
from modalities.store.files import (
    quarantine,
    read_features,
    sha256_of,
    temporaries,
    unusable,
    write_features,
)


class FeatureStoreWarning(UserWarning):
    """A file of the store was damaged; it was set aside and its features are made again."""


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Be the only writer of `path`, and clear away what killed writers left."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        lock.acquire()
        for left in temporaries(path.parent, path.name):
            left.unlink()
    except OSError as error:
        raise unusable(path.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def read_shared(path: Path, version: str) -> ModalityFeatures | None:
    """Read a file of the store; None when it is absent or was damaged and set aside."""
    try:
        return _checked(path, version)
    except FileNotFoundError:
        return None
    except CorruptFileError:
        with lock_file(path):  # a writer may just have put a sound file in its place: look again
            return read_locked(path, version)


def read_locked(path: Path, version: str) -> ModalityFeatures | None:
    """Like `read_shared`; the caller holds the lock of `path`."""
    try:
        return _checked(path, version)
    except FileNotFoundError:
        return None
    except CorruptFileError as error:
        aside = quarantine(path)
        warnings.warn(
            f"{error}; it was set aside as {aside.name} and its features are made again",
            FeatureStoreWarning,
            stacklevel=4,
        )
        return None


def _checked(path: Path, version: str) -> ModalityFeatures:
    try:
        features = read_features(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unusable(path, error) from error
    if features.version != version:
        raise CorruptFileError(f"{path} holds features of '{features.version}', not '{version}'")
    return features


BUCKETS = 64
_SHOWN_FAILURES = 5
_SUFFIX = ".safetensors"
"""Files that end in ``.features`` are of an earlier format and are not read."""


@dataclass(frozen=True)
class Shard:
    """Molecules of one bucket whose features are still to be made: a piece of work.

    Attributes
    ----------
    bucket : int
        0 to 63.
    smiles : tuple of str
        Canonical SMILES that belong to the bucket.
    """

    bucket: int
    smiles: tuple[str, ...]


def bucket_of(smiles: str) -> int:
    """Return the bucket of a molecule: the first six bits of the sha256 of its SMILES."""
    return hashlib.sha256(smiles.encode()).digest()[0] % BUCKETS


class FeatureCopies(Protocol):
    """Keeps the folder of a store equal to a place that other machines share."""

    def pull(self, path: Path) -> None:
        """Bring a file, or the files of a folder, up to what others wrote."""

    def push(self, path: Path) -> None:
        """Give a file that was written to the others."""


class FeatureStore:
    """Features of any modality, kept under one folder, for many processes at once.

    Parameters
    ----------
    root : Path
        Folder of the store; made when it is not there. Several machines may share it if its
        file system has working locks.
    copies : FeatureCopies, optional
        What shares the files where there is no such file system.

    Raises
    ------
    ModalityError
        The folder cannot be made.
    """

    def __init__(self, root: Path, copies: FeatureCopies | None = None) -> None:
        self.root, self._copies = Path(root), copies
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unusable(self.root, error) from error

    def missing(self, modality: Modality, smiles: Sequence[str]) -> tuple[Shard, ...]:
        """Return the work left before `load` of these molecules: a shard for every bucket."""
        buckets: dict[int, list[str]] = {}
        for text in dict.fromkeys(smiles):
            buckets.setdefault(bucket_of(text), []).append(text)
        self._pull(self._folder(modality) / "buckets")
        shards = []
        for bucket in sorted(buckets):
            stored = self._rows(modality, bucket)
            absent = tuple(text for text in buckets[bucket] if text not in stored)
            if absent:
                shards.append(Shard(bucket, absent))
        return tuple(shards)

    def fill(self, modality: Modality, shard: Shard) -> int:
        """Make and store the features of a shard; return how many were not there yet.

        Raises
        ------
        ModalityError
            Some molecules cannot be represented, each named with its rule, or the folder cannot
            be written; the bucket is as it was.
        """
        path = self._bucket(modality, shard.bucket)
        with lock_file(path):
            self._pull(path)
            rows = _rows_of(read_locked(path, modality.version))
            new = [text for text in dict.fromkeys(shard.smiles) if text not in rows]
            if new:
                rows |= dict(zip(new, _featurize(modality, new), strict=True))
                self._write(path, ModalityFeatures.stack(modality.version, *_columns(rows)))
        return len(new)

    def load(self, modality: Modality, smiles: Sequence[str]) -> ModalityFeatures:
        """Return the features of a table; row i is ``smiles[i]``. What is missing is made here.

        The second load of the same table is a memory-mapped file.

        Raises
        ------
        ModalityError
            As `fill`.
        """
        wanted = ModalityFeatures(modality.version, tuple(smiles), {})
        path = self._folder(modality) / "tables" / f"{wanted.digest}{_SUFFIX}"
        if not path.is_file():
            self._pull(path)
        table = read_shared(path, modality.version)
        if table is None:
            for shard in self.missing(modality, smiles):
                self.fill(modality, shard)
            with lock_file(path):
                table = read_locked(path, modality.version)
                if table is None:
                    table = self._assemble(modality, smiles)
                    self._write(path, table)
        return table

    def quarantined(self) -> tuple[Path, ...]:
        """Return the damaged files that were found and set aside so far, in all modalities."""
        return tuple(sorted(self.root.rglob("*.corrupt")))

    def _pull(self, path: Path) -> None:
        if self._copies is not None:
            self._copies.pull(path)

    def _write(self, path: Path, features: ModalityFeatures) -> None:
        write_features(path, features)
        if self._copies is not None:
            self._copies.push(path)

    def _assemble(self, modality: Modality, smiles: Sequence[str]) -> ModalityFeatures:
        rows: dict[str, Record] = {}
        for bucket in {bucket_of(text) for text in smiles}:
            rows |= self._rows(modality, bucket)
        records = [rows[text] for text in smiles]
        return ModalityFeatures.stack(modality.version, smiles, records)

    def _rows(self, modality: Modality, bucket: int) -> dict[str, Record]:
        return _rows_of(read_shared(self._bucket(modality, bucket), modality.version))

    def _bucket(self, modality: Modality, bucket: int) -> Path:
        return self._folder(modality) / "buckets" / f"{bucket:02d}{_SUFFIX}"

    def _folder(self, modality: Modality) -> Path:
        """Return the folder of a featurizer version: a readable word and the digest of the rest."""
        word = re.sub(r"\W+", "-", modality.version.partition(" ")[0])
        return self.root / f"{word}-{sha256_of(modality.version)[:16]}"


def _featurize(modality: Modality, smiles: Sequence[str]) -> list[Record]:
    """Featurize all molecules, or raise one error that names every molecule at fault."""
    records, failures = [], []
    for text in smiles:
        try:
            records.append(modality.featurize(text))
        except ModalityError as error:
            failures.append(str(error))
    if failures:
        more = len(failures) - _SHOWN_FAILURES
        shown = "\n".join(failures[:_SHOWN_FAILURES])
        raise ModalityError(f"{shown}\nand {more} more" if more > 0 else shown)
    return records


def _rows_of(features: ModalityFeatures | None) -> dict[str, Record]:
    """Split features into the record of every molecule (views, no copy)."""
    if features is None:
        return {}
    fields = features.fields
    return {
        text: {name: field[row] for name, field in fields.items()}
        for row, text in enumerate(features.smiles)
    }


def _columns(rows: dict[str, Record]) -> tuple[list[str], list[Record]]:
    return list(rows), list(rows.values())
