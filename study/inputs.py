"""What every trial of a study reads: the table, the split, the features, the embeddings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modalities import FeatureStore, Modality, ModalityFeatures
from study.cells import TrialSpec
from study.choices import ModalityChoice
from study.data import OdorDataset, pack, unpack
from study.embeddings import EmbeddingStore, EncoderJob, Place
from study.spec import digest
from study.splits import Fold, Split
from study.storage import Storage, write_atomic
from study.words import Vocabulary

CODE = 2
"""Version of the training code; a change that alters numbers raises it and with it every id."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Data set and split of a study, with the caches its trials share.

    Attributes
    ----------
    dataset : OdorDataset
    split : Split
    cache : Path
        Folder of features and embeddings.
    """

    dataset: OdorDataset
    split: Split
    cache: Path

    def fold(self, place: TrialSpec | Place) -> Fold:
        """Return the fold of a trial or job."""
        wanted = (place.repeat, place.fold)
        return next(f for f in self.split.folds if (f.repeat, f.index) == wanted)

    @cached_property
    def features_store(self) -> FeatureStore:
        """Features on disk, by content."""
        return FeatureStore(self.cache / "features")

    @cached_property
    def embedding_store(self) -> EmbeddingStore:
        """Embeddings of encoder jobs, by identity."""
        return EmbeddingStore(Storage(str(self.cache / "embeddings")))

    @cached_property
    def checkpoints(self) -> Storage:
        """Folder of the checkpoints of trainings under way, by identity."""
        return Storage(str(self.cache / "checkpoints"))

    def features(self, choice: ModalityChoice) -> ModalityFeatures:
        """Return the features of the whole table in one modality."""
        return self.features_store.load(modality_of(choice), self.dataset.smiles)

    def trial_id(self, trial: TrialSpec) -> str:
        """Identity of a trial: spec, data, the rows it uses, featurizer versions, code."""
        fold = self.fold(trial)
        fraction = trial.cell.fraction
        return digest(
            {
                "cell": trial.cell.json_value(),
                "seed": trial.torch_seed,
                "data": self.dataset.digest,
                "rows": fold.digest(fraction),
                "features": [modality_of(f.choice).version for f in trial.cell.features],
                "code": CODE,
            }
        )[:32]

    def job_id(self, job: EncoderJob) -> str:
        """Identity of an encoder job: what it starts from, and what it is trained on if it is."""
        place = job.place
        return digest(
            {
                "choice": job.feature.choice.json_value(),
                "seed": job.seed,
                "data": self.dataset.digest if place else _molecules(self.dataset),
                "rows": self.fold(place).digest(place.fraction) if place else None,
                "features": modality_of(job.feature.choice).version,
                "labels": self.columns(job).tolist() if job.share else None,
                "code": CODE,
            }
        )[:32]

    def columns(self, job: EncoderJob) -> NDArray[np.int64]:
        """Return the columns of the labels that an encoder is fine-tuned on, rising."""
        if job.share is None or job.place is None:
            return np.arange(len(self.dataset.label_names))
        rows = self.fold(job.place).fit[job.place.fraction]
        return job.share.columns(self.dataset.labels[rows], rows, job.seed)

    def save(self, folder: Path) -> None:
        """Write data set and split where workers read them."""
        write_atomic(folder / "dataset.table", pack(self.dataset))
        write_atomic(folder / "cache.json", json.dumps(str(self.cache.resolve())).encode())
        self.split.save(folder / "split.json")

    @classmethod
    def load(cls, folder: Path) -> Inputs:
        """Read what `save` wrote."""
        dataset = unpack((folder / "dataset.table").read_bytes())
        split = Split.load(folder / "split.json", dataset_digest=dataset.digest)
        cache = Path(json.loads((folder / "cache.json").read_text(encoding="utf-8")))
        return cls(dataset, split, cache)


def modality_of(choice: ModalityChoice) -> Modality:
    """Build the modality behind a choice; weights are not loaded yet."""
    modality: Modality = Vocabulary("modalities").load(choice.word)(**choice.options)
    return modality


def _molecules(dataset: OdorDataset) -> str:
    """Digest of the molecules alone: an untrained encoder depends on nothing else."""
    return digest(list(dataset.smiles))
