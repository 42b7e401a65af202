"""Features on disk, addressed by content and shared between processes with file locks."""

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
    build_store_error,
    list_temporary_files,
    quarantine,
    read_features,
    sha256_of,
    write_features,
)


class FeatureStoreWarning(UserWarning):
    """Warning about a damaged file of the store, which was set aside and is computed again."""


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Lock `path` for writing, and delete the temporary files of killed writers."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        lock.acquire()
        for temporary in list_temporary_files(path.parent, path.name):
            temporary.unlink()
    except OSError as error:
        raise build_store_error(path.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def read_shared(path: Path, version: str) -> ModalityFeatures | None:
    """Read a file of the store; None if it is absent, or was damaged and is now set aside."""
    try:
        return _read_checked(path, version)
    except FileNotFoundError:
        return None
    except CorruptFileError:
        with lock_file(path):  # read again: another process may have replaced the file meanwhile
            return read_locked(path, version)


def read_locked(path: Path, version: str) -> ModalityFeatures | None:
    """Like `read_shared`; the caller holds the lock of `path`."""
    try:
        return _read_checked(path, version)
    except FileNotFoundError:
        return None
    except CorruptFileError as error:
        quarantined = quarantine(path)
        warnings.warn(
            f"{error}; it was set aside as {quarantined.name} and its features are computed again",
            FeatureStoreWarning,
            stacklevel=4,
        )
        return None


def _read_checked(path: Path, version: str) -> ModalityFeatures:
    try:
        features = read_features(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise build_store_error(path, error) from error
    if features.version != version:
        raise CorruptFileError(f"{path} holds features of '{features.version}', not '{version}'")
    return features


BUCKETS = 64
"""Number of files over which the molecules of a featurizer version are distributed."""
_SHOWN_FAILURES = 5
_SUFFIX = ".safetensors"
"""Suffix of feature files; ``.features`` is that of an earlier format, which is not read."""


@dataclass(frozen=True)
class Shard:
    """Molecules of one bucket whose features are missing: the unit of work of featurizing.

    Attributes
    ----------
    bucket : int
        Number of the bucket, 0 to 63.
    smiles : tuple of str
        Canonical SMILES in the bucket.
    """

    bucket: int
    smiles: tuple[str, ...]


def find_bucket(smiles: str) -> int:
    """Return the bucket of a molecule: six bits of the first byte of the sha256 of its SMILES."""
    return hashlib.sha256(smiles.encode()).digest()[0] % BUCKETS


def feature_folder(version: str) -> str:
    """Return the folder name of a featurizer version: its first word, and a digest of all of it."""
    name = re.sub(r"\W+", "-", version.partition(" ")[0])
    return f"{name}-{sha256_of(version)[:16]}"


class FeatureMirror(Protocol):
    """Synchronizes the folder of a store with a storage that other machines use."""

    def pull(self, path: Path) -> None:
        """Download a file, or the files of a folder, that other machines have written."""

    def push(self, path: Path) -> None:
        """Upload a file that was written here."""


class FeatureStore:
    """Features of all modalities in one folder, for concurrent processes.

    Parameters
    ----------
    root : Path
        Folder of the store, created if it does not exist. Several machines may share it if its
        file system supports locks.
    copies : FeatureMirror, optional
        Synchronizes the files with other machines where there is no such file system.

    Raises
    ------
    ModalityError
        The folder cannot be created.
    """

    def __init__(self, root: Path, copies: FeatureMirror | None = None) -> None:
        self.root, self._mirror = Path(root), copies
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise build_store_error(self.root, error) from error

    def missing(self, modality: Modality, smiles: Sequence[str]) -> tuple[Shard, ...]:
        """Return the molecules without stored features: one shard per bucket that lacks any."""
        buckets: dict[int, list[str]] = {}
        for molecule in dict.fromkeys(smiles):
            buckets.setdefault(find_bucket(molecule), []).append(molecule)
        self._pull(self._folder(modality) / "buckets")
        shards = []
        for bucket in sorted(buckets):
            stored = self._read_records(modality, bucket)
            absent = tuple(molecule for molecule in buckets[bucket] if molecule not in stored)
            if absent:
                shards.append(Shard(bucket, absent))
        return tuple(shards)

    def fill(self, modality: Modality, shard: Shard) -> int:
        """Compute and store the missing features of a shard; return how many were missing.

        Raises
        ------
        ModalityError
            Some molecules cannot be represented, each named with its rule, or the folder cannot
            be written; the bucket is unchanged.
        """
        path = self._bucket_path(modality, shard.bucket)
        with lock_file(path):
            self._pull(path)
            records = _split_records(read_locked(path, modality.version))
            new = [molecule for molecule in dict.fromkeys(shard.smiles) if molecule not in records]
            if new:
                records |= dict(zip(new, _featurize(modality, new), strict=True))
                features = ModalityFeatures.stack(
                    modality.version, list(records), list(records.values())
                )
                self._write(path, features)
        return len(new)

    def load(self, modality: Modality, smiles: Sequence[str]) -> ModalityFeatures:
        """Return the features of a table, computing the missing ones; row i is ``smiles[i]``.

        The assembled table is stored too, so that the next load of it is a memory-mapped file.

        Raises
        ------
        ModalityError
            As in `fill`.
        """
        # The digest of features depends on version and molecules only, not on the fields.
        digest = ModalityFeatures(modality.version, tuple(smiles), {}).digest
        path = self._folder(modality) / "tables" / f"{digest}{_SUFFIX}"
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
        """Return the damaged files of all modalities that were set aside so far."""
        return tuple(sorted(self.root.rglob("*.corrupt")))

    def _pull(self, path: Path) -> None:
        if self._mirror is not None:
            self._mirror.pull(path)

    def _write(self, path: Path, features: ModalityFeatures) -> None:
        write_features(path, features)
        if self._mirror is not None:
            self._mirror.push(path)

    def _assemble(self, modality: Modality, smiles: Sequence[str]) -> ModalityFeatures:
        records: dict[str, Record] = {}
        for bucket in {find_bucket(molecule) for molecule in smiles}:
            records |= self._read_records(modality, bucket)
        return ModalityFeatures.stack(
            modality.version, smiles, [records[molecule] for molecule in smiles]
        )

    def _read_records(self, modality: Modality, bucket: int) -> dict[str, Record]:
        return _split_records(read_shared(self._bucket_path(modality, bucket), modality.version))

    def _bucket_path(self, modality: Modality, bucket: int) -> Path:
        return self._folder(modality) / "buckets" / f"{bucket:02d}{_SUFFIX}"

    def _folder(self, modality: Modality) -> Path:
        """Return the folder of a featurizer version."""
        return self.root / feature_folder(modality.version)


def _featurize(modality: Modality, smiles: Sequence[str]) -> list[Record]:
    """Featurize all molecules, or raise one error about all that fail."""
    records, failures = [], []
    for molecule in smiles:
        try:
            records.append(modality.featurize(molecule))
        except ModalityError as error:
            failures.append(str(error))
    if failures:
        more = len(failures) - _SHOWN_FAILURES
        shown = "\n".join(failures[:_SHOWN_FAILURES])
        raise ModalityError(f"{shown}\nand {more} more" if more > 0 else shown)
    return records


def _split_records(features: ModalityFeatures | None) -> dict[str, Record]:
    """Split features into one record per molecule, as views; no features give no records."""
    if features is None:
        return {}
    fields = features.fields
    return {
        molecule: {name: field[row] for name, field in fields.items()}
        for row, molecule in enumerate(features.smiles)
    }
