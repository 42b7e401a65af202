"""Data that every trial of a study reads: data set, split, features, embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities import FeatureStore, Modality, ModalityFeatures, StoreError
from study.artifacts.embeddings import EmbeddingStore, EncoderJob, FoldKey
from study.artifacts.study_folder import CACHE, SPLIT, TABLE
from study.artifacts.version import Version, featurizer_parts
from study.config.components import ModalityConfig
from study.config.study import digest
from study.data import OdorDataset
from study.data.cache import add_table_checksum, verify_table_checksum
from study.errors import StorageError
from study.planning.plan import Plan
from study.planning.trials import Arm, Trial
from study.plugins.registry import Registry
from study.splits import Fold, Split
from study.storage.checksums import (
    add_json_checksum,
    read_verified,
    verify_json_checksum,
    write_verified,
)
from study.storage.mirror import feature_store
from study.storage.storage import Storage

CODE = 5
"""Version of the training code, part of every trial id.

Raise it with every change that alters results, and with the revision of a featurizer. Results of
earlier versions stay readable (`study.results.versions`).
"""


@dataclass(frozen=True, eq=False)
class StudyData:
    """Data set and split of a study, and the caches that its trials share.

    Attributes
    ----------
    dataset : OdorDataset
    split : Split
    cache : Path or str
        Folder of features, embeddings and checkpoints, or its URL in an object store.
    features_at : str, optional
        Folder or URL of the features, if they are not in the cache.
    version : Version, optional
        Version of the results that are read. Default: the current one, which is the only one that
        trials are run with.
    """

    dataset: OdorDataset
    split: Split
    cache: Path | str
    features_at: str | None = None
    version: Version | None = None

    def fold(self, place: Trial | FoldKey) -> Fold:
        """Return the fold of a trial or job."""
        key = (place.repeat, place.fold)
        return next(f for f in self.split.folds if (f.repeat, f.index) == key)

    @cached_property
    def _cache_storage(self) -> Storage:
        return Storage(str(self.cache))

    @property
    def features_address(self) -> str:
        """Folder or URL of the features, valid in any process."""
        return self.features_at or self._cache_storage.subfolder("features").url

    @cached_property
    def features_store(self) -> FeatureStore:
        """Store of features, addressed by content."""
        with storage_errors():
            return feature_store(Storage(self.features_address))

    @cached_property
    def embedding_store(self) -> EmbeddingStore:
        """Store of the embeddings of encoder jobs, by identity."""
        return EmbeddingStore(self._cache_storage.subfolder("embeddings"))

    @cached_property
    def checkpoints(self) -> Storage:
        """Folder of the checkpoints of trainings in progress, by identity."""
        return self._cache_storage.subfolder("checkpoints")

    def quarantined(self) -> frozenset[str]:
        """Return the paths of the damaged features and checkpoints that were set aside so far."""
        features = (str(path) for path in self.features_store.quarantined())
        names = self.checkpoints.names(".corrupt")
        return frozenset([*features, *(self.checkpoints.path(name) for name in names)])

    def features(self, choice: ModalityConfig) -> ModalityFeatures:
        """Return the features of the whole table in one modality."""
        with storage_errors():
            return self.features_store.load(build_modality(choice), self.dataset.smiles)

    def trial_id(self, trial: Trial) -> str:
        """Return the identity of a trial, from its request and the version that runs it."""
        makers = [self._apply_version(text) for text in component_versions(trial.arm)]
        return digest({**self._request(trial), "features": makers, "code": self._code})[:32]

    def request_id(self, trial: Trial) -> str:
        """Return the identity of a trial's request, which is the same in all versions."""
        return digest(self._request(trial))[:32]

    def origin(self, trial: Trial) -> dict[str, Any]:
        """Return the origin that a result records: code, featurizers and id of the request."""
        makers = tuple(self._apply_version(text) for text in component_versions(trial.arm))
        return {"code": self._code, "featurizers": makers, "asked": self.request_id(trial)}

    def _request(self, trial: Trial) -> dict[str, Any]:
        """Return arm, seed, data and rows of a trial. The keys are part of identities."""
        return {
            "cell": trial.arm.json_value(),
            "seed": trial.torch_seed,
            "data": self.dataset.digest,
            "rows": self.fold(trial).digest(trial.arm.fraction),
        }

    @property
    def _code(self) -> int:
        return self.version.code if self.version else CODE

    def featurizer_version(self, config: ModalityConfig) -> str:
        """Return the version text of a featurizer, as it was when the results were made."""
        return self._apply_version(build_modality(config).version)

    def _apply_version(self, installed: str) -> str:
        """Return the version text of a component, as it was when the results were made."""
        return self.version.applied_to(installed) if self.version else installed

    def job_id(self, job: EncoderJob) -> str:
        """Return the identity of an encoder job, from its config and the data it depends on."""
        place = job.fold_key
        return digest(
            {
                "choice": job.feature.config.json_value(),
                "seed": job.seed,
                "data": self.dataset.digest if place else _digest_molecules(self.dataset),
                "rows": self.fold(place).digest(place.fraction) if place else None,
                "features": self.featurizer_version(job.feature.config),
                "labels": self.columns(job).tolist() if job.label_subset else None,
                "code": self._code,
            }
        )[:32]

    def columns(self, job: EncoderJob) -> NDArray[np.int64]:
        """Return the columns of the labels that an encoder is fine-tuned on, in ascending order."""
        if job.label_subset is None or job.fold_key is None:
            return np.arange(len(self.dataset.label_names))
        rows = self.fold(job.fold_key).fit[job.fold_key.fraction]
        return job.label_subset.columns(self.dataset.labels[rows], rows, job.seed)

    def save(self, folder: Path | str | Storage) -> list[str]:
        """Write data set, split and address of the caches to a folder that workers read.

        Files with the same content are not written again. Damaged files are set aside; returns a
        message about each.
        """
        storage = folder if isinstance(folder, Storage) else Storage(str(folder))
        cache = {"cache": self._cache_storage.address}
        files = {
            TABLE: (add_table_checksum(self.dataset), verify_table_checksum),
            CACHE: (add_json_checksum(cache), _read_cache_address),
            SPLIT: (self.split.to_bytes(), Split.from_bytes),
        }
        messages = [
            write_verified(storage, name, data, read) for name, (data, read) in files.items()
        ]
        return [message for message in messages if message]

    @classmethod
    def load(cls, folder: Path | str | Storage) -> StudyData:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            A file is absent or damaged.
        """
        storage = folder if isinstance(folder, Storage) else Storage(str(folder))
        dataset = read_verified(storage, TABLE, verify_table_checksum)
        split = read_verified(
            storage, SPLIT, partial(Split.from_bytes, dataset_digest=dataset.digest)
        )
        return cls(dataset, split, read_verified(storage, CACHE, _read_cache_address))


def _read_cache_address(data: bytes, path: str) -> str:
    """Return the address of the caches. Older files hold a JSON text without a checksum."""
    value = json.loads(data)
    if isinstance(value, str):
        return value
    return str(verify_json_checksum(data, path, ("cache",))["cache"])


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise a `StorageError` for features that cannot be written or read.

    Raises
    ------
    StorageError
        The message names the file.
    """
    try:
        yield
    except StoreError as error:
        raise StorageError(str(error)) from error


def current_version(plan: Plan) -> Version:
    """Return the version that runs the trials of a plan now: code, featurizers and plug-ins."""
    choices = {f.key: f.config for arm in plan.arms for f in arm.features}
    texts = [build_modality(choice).version for choice in choices.values()]
    plugins = {text for arm in plan.arms for text in _plugin_versions(arm)}
    return Version(CODE, tuple(sorted(featurizer_parts([*texts, *plugins]).items())))


def component_versions(arm: Arm) -> tuple[str, ...]:
    """Return the version texts of the components of an arm.

    These are its featurizers, in the order of the features, then the plug-ins of its operator and
    partition; components of this program are covered by the number of the code.
    """
    featurizers = (build_modality(feature.config).version for feature in arm.features)
    return (*featurizers, *_plugin_versions(arm))


def _plugin_versions(arm: Arm) -> list[str]:
    components = [component for component in (arm.fusion, arm.partition) if component is not None]
    return [text for c in components if (text := Registry(c.key).version(c.name))]


def build_modality(choice: ModalityConfig) -> Modality:
    """Build a modality from its config, without loading weights."""
    modality: Modality = Registry("modality").load(choice.name)(**choice.options)
    return modality


def _digest_molecules(dataset: OdorDataset) -> str:
    """Return a digest of the molecules alone: an untrained encoder depends on nothing else."""
    return digest(list(dataset.smiles))
