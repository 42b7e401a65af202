"""What every trial of a study reads: the table, the split, the features, the embeddings."""

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
from study.artifacts.version import Version, featurizer_parts
from study.config.components import ModalityConfig
from study.config.study import digest
from study.data import OdorDataset
from study.data.cache import add_table_checksum, verify_table_checksum
from study.errors import StorageError
from study.planning.plan import Plan
from study.planning.trials import Trial
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

_TABLE, _CACHE, _SPLIT = "dataset.table", "cache.json", "split.json"

CODE = 5
"""Version of the training code; a change that alters numbers raises it and with it every id.

Who raises the revision of a featurizer raises this number too. Results of earlier numbers are
found again (`study.results.versions`).
"""


@dataclass(frozen=True, eq=False)
class StudyData:
    """Data set and split of a study, with the caches its trials share.

    Attributes
    ----------
    dataset : OdorDataset
    split : Split
    cache : Path or str
        Folder of features, embeddings and checkpoints, or its URL in an object store.
    features_at : str, optional
        Folder or URL of the features, if they are not kept in the cache.
    version : Version, optional
        What made the results that are read; without it what makes trials now. Trials are run
        with the latter alone.
    """

    dataset: OdorDataset
    split: Split
    cache: Path | str
    features_at: str | None = None
    version: Version | None = None

    def fold(self, place: Trial | FoldKey) -> Fold:
        """Return the fold of a trial or job."""
        wanted = (place.repeat, place.fold)
        return next(f for f in self.split.folds if (f.repeat, f.index) == wanted)

    @cached_property
    def _kept(self) -> Storage:
        return Storage(str(self.cache))

    @property
    def features_place(self) -> str:
        """Folder or URL of the features, as any process can name it."""
        return self.features_at or self._kept.below("features").url

    @cached_property
    def features_store(self) -> FeatureStore:
        """Features on disk, by content."""
        with storage_errors():
            return feature_store(Storage(self.features_place))

    @cached_property
    def embedding_store(self) -> EmbeddingStore:
        """Embeddings of encoder jobs, by identity."""
        return EmbeddingStore(self._kept.below("embeddings"))

    @cached_property
    def checkpoints(self) -> Storage:
        """Folder of the checkpoints of trainings under way, by identity."""
        return self._kept.below("checkpoints")

    def quarantined(self) -> frozenset[str]:
        """Return the damaged features and checkpoints that were set aside so far, by path."""
        features = (str(path) for path in self.features_store.quarantined())
        names = self.checkpoints.names(".corrupt")
        return frozenset([*features, *(self.checkpoints.path(name) for name in names)])

    def features(self, choice: ModalityConfig) -> ModalityFeatures:
        """Return the features of the whole table in one modality."""
        with storage_errors():
            return self.features_store.load(build_modality(choice), self.dataset.smiles)

    def trial_id(self, trial: Trial) -> str:
        """Identity of a trial: what was asked, and what made it."""
        featurizers = [self._featurizer(f.choice) for f in trial.arm.features]
        return digest({**self._asked(trial), "features": featurizers, "code": self._code})[:32]

    def asked_id(self, trial: Trial) -> str:
        """Identity of what was asked, whatever makes it: spec, data and the rows it uses."""
        return digest(self._asked(trial))[:32]

    def origin(self, trial: Trial) -> dict[str, Any]:
        """Return what a record says of its making: code, featurizers, and what was asked."""
        featurizers = tuple(self._featurizer(f.choice) for f in trial.arm.features)
        return {"code": self._code, "featurizers": featurizers, "asked": self.asked_id(trial)}

    def _asked(self, trial: Trial) -> dict[str, Any]:
        return {
            "cell": trial.arm.json_value(),
            "seed": trial.torch_seed,
            "data": self.dataset.digest,
            "rows": self.fold(trial).digest(trial.arm.fraction),
        }

    @property
    def _code(self) -> int:
        return self.version.code if self.version else CODE

    def _featurizer(self, choice: ModalityConfig) -> str:
        """Return the version of a featurizer, as it was when the results were made."""
        installed = build_modality(choice).version
        return self.version.applied_to(installed) if self.version else installed

    def job_id(self, job: EncoderJob) -> str:
        """Identity of an encoder job: what it starts from, and what it is trained on if it is."""
        place = job.place
        return digest(
            {
                "choice": job.feature.choice.json_value(),
                "seed": job.seed,
                "data": self.dataset.digest if place else _molecules(self.dataset),
                "rows": self.fold(place).digest(place.fraction) if place else None,
                "features": self._featurizer(job.feature.choice),
                "labels": self.columns(job).tolist() if job.share else None,
                "code": self._code,
            }
        )[:32]

    def columns(self, job: EncoderJob) -> NDArray[np.int64]:
        """Return the columns of the labels that an encoder is fine-tuned on, rising."""
        if job.share is None or job.place is None:
            return np.arange(len(self.dataset.label_names))
        rows = self.fold(job.place).fit[job.place.fraction]
        return job.share.columns(self.dataset.labels[rows], rows, job.seed)

    def save(self, folder: Path | str | Storage) -> list[str]:
        """Write data set, split and place of the caches where workers read them.

        Files that hold the same already are left alone. Damaged ones are set aside; what was
        done is returned, a text for each.
        """
        storage = folder if isinstance(folder, Storage) else Storage(str(folder))
        kept = {"cache": self._kept.address}
        files = {
            _TABLE: (add_table_checksum(self.dataset), verify_table_checksum),
            _CACHE: (add_json_checksum(kept), _place_of),
            _SPLIT: (self.split.to_bytes(), Split.from_bytes),
        }
        said = [write_verified(storage, name, data, read) for name, (data, read) in files.items()]
        return [text for text in said if text]

    @classmethod
    def load(cls, folder: Path | str | Storage) -> StudyData:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            A file is absent or damaged.
        """
        storage = folder if isinstance(folder, Storage) else Storage(str(folder))
        dataset = read_verified(storage, _TABLE, verify_table_checksum)
        split = read_verified(
            storage, _SPLIT, partial(Split.from_bytes, dataset_digest=dataset.digest)
        )
        return cls(dataset, split, read_verified(storage, _CACHE, _place_of))


def _place_of(data: bytes, place: str) -> str:
    """Return where the caches are; older files hold the text alone."""
    text = json.loads(data)
    return str(
        text if isinstance(text, str) else verify_json_checksum(data, place, ("cache",))["cache"]
    )


@contextmanager
def storage_errors() -> Iterator[None]:
    """Let features that cannot be written or read be an error of the storage.

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
    """Return what makes the trials of a plan now: the training code and installed featurizers."""
    choices = {f.key: f.choice for arm in plan.arms for f in arm.features}
    parts = featurizer_parts(build_modality(choice).version for choice in choices.values())
    return Version(CODE, tuple(sorted(parts.items())))


def build_modality(choice: ModalityConfig) -> Modality:
    """Build the modality behind a choice; weights are not loaded yet."""
    modality: Modality = Registry("modality").load(choice.name)(**choice.options)
    return modality


def _molecules(dataset: OdorDataset) -> str:
    """Digest of the molecules alone: an untrained encoder depends on nothing else."""
    return digest(list(dataset.smiles))
