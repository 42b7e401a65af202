"""What every trial of a study reads: the table, the split, the features, the embeddings."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modalities import FeatureStore, Modality, ModalityFeatures
from study.cells import TrialSpec
from study.data import CurationStep, OdorDataset
from study.embeddings import EmbeddingStore, EncoderJob, Place
from study.spec import ModalityChoice, digest
from study.splits import Fold, Split
from study.storage import Storage, write_atomic
from study.words import Vocabulary

CODE = 1
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
                "rows": _rows_digest(fold, fraction),
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
                "rows": _rows_digest(self.fold(place), place.fraction) if place else None,
                "features": modality_of(job.feature.choice).version,
                "code": CODE,
            }
        )[:32]

    def save(self, folder: Path) -> None:
        """Write data set and split where workers read them."""
        arrays = io.BytesIO()
        np.savez_compressed(arrays, labels=self.dataset.labels)
        write_atomic(folder / "labels.npz", arrays.getvalue())
        header = {
            "name": self.dataset.name,
            "smiles": self.dataset.smiles,
            "label_names": self.dataset.label_names,
            "steps": [asdict(step) for step in self.dataset.steps],
            "sources": dict(self.dataset.sources),
            "cache": str(self.cache.resolve()),
        }
        write_atomic(folder / "dataset.json", json.dumps(header).encode())
        self.split.save(folder / "split.json")

    @classmethod
    def load(cls, folder: Path) -> Inputs:
        """Read what `save` wrote."""
        header = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        with np.load(folder / "labels.npz", allow_pickle=False) as arrays:
            labels: NDArray[np.uint8] = arrays["labels"]
        dataset = OdorDataset(
            header["name"],
            tuple(header["smiles"]),
            labels,
            tuple(header["label_names"]),
            steps=tuple(CurationStep(**step) for step in header["steps"]),
            sources=header["sources"],
        )
        split = Split.load(folder / "split.json", dataset_digest=dataset.digest)
        return cls(dataset, split, Path(header["cache"]))


def modality_of(choice: ModalityChoice) -> Modality:
    """Build the modality behind a choice; weights are not loaded yet."""
    modality: Modality = Vocabulary("modalities").load(choice.word)(**choice.options)
    return modality


def _molecules(dataset: OdorDataset) -> str:
    """Digest of the molecules alone: an untrained encoder depends on nothing else."""
    return digest(list(dataset.smiles))


def _rows_digest(fold: Fold, fraction: float) -> str:
    parts = (fold.test, fold.fit[fraction], fold.validation[fraction])
    return digest([part.tolist() for part in parts])
