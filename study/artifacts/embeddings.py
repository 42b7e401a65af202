"""Embeddings of a whole table, stored by the identity of the encoder job that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities.store.arrays import CorruptFileError, pack_arrays, unpack_arrays
from study.config.components import ModalityConfig
from study.planning.encoder_jobs import LabelSubset, find_label_subset
from study.planning.trials import NamedModality, Trial
from study.storage.checksums import LedgerError
from study.storage.storage import Storage

_SUFFIX = ".safetensors"
"""Files with the suffix ``.embeddings`` have an earlier format and are not read."""
_ARRAY, _JOB = "embeddings", "job"


@dataclass(frozen=True)
class FoldKey:
    """Key of a set of training rows: a fold and the fraction of it that is used."""

    repeat: int
    fold: int
    fraction: float


@dataclass(frozen=True)
class EncoderJob:
    """One encoder to load or train, and to apply to every molecule.

    Attributes
    ----------
    feature : NamedModality
        The modality with its options and training config.
    fold_key : FoldKey or None
        Key of its training rows; None if it is neither trained nor fitted.
    seed : int
        Seed of random initial weights and of the training.
    label_subset : LabelSubset or None
        The labels it is fine-tuned on; None: all.
    """

    feature: NamedModality
    fold_key: FoldKey | None
    seed: int
    label_subset: LabelSubset | None = None

    def __str__(self) -> str:
        place = self.fold_key
        rows = f" / fraction {place.fraction:g} fold {place.fold}" if place else ""
        labels = f" on its labels of {self.label_subset.partition}" if self.label_subset else ""
        return f"encoder {self.feature.name}{labels}{rows} seed {self.seed}"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, to be sent to another process."""
        return {
            "name": self.feature.name,
            "choice": self.feature.config.model_dump(mode="json"),
            "place": asdict(self.fold_key) if self.fold_key else None,
            "seed": self.seed,
            "share": self.label_subset.to_json() if self.label_subset else None,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EncoderJob:
        """Rebuild what `to_json` wrote."""
        feature = NamedModality(value["name"], ModalityConfig.model_validate(value["choice"]))
        place = FoldKey(**value["place"]) if value["place"] else None
        share = LabelSubset.from_json(value["share"]) if value["share"] else None
        return cls(feature, place, value["seed"], share)


def encoder_job_for(feature: NamedModality, trial: Trial) -> EncoderJob | None:
    """Return the encoder job whose embeddings a trial reads; None if it reads none.

    Fitted transforms are cheap and are fitted in the trial; joint encoders are trained there.
    """
    choice = feature.config
    if not choice.trainable or choice.resolved == "joint":
        return None
    place = FoldKey(trial.repeat, trial.fold, trial.arm.fraction)
    if choice.resolved == "finetune":
        return EncoderJob(
            feature, place, trial.torch_seed, find_label_subset(feature.module_name, trial)
        )
    if choice.weights is not None:
        return EncoderJob(feature, None, 0)
    return EncoderJob(feature, place if choice.fitted else None, trial.seed)


class EmbeddingStore:
    """Store of embeddings (n, d) by job identity, in safetensors files.

    Parameters
    ----------
    storage : Storage
        Folder of the files.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def put(self, job_id: str, embeddings: NDArray[np.float32]) -> None:
        """Write the embeddings of every molecule, atomically, with the identity of their job."""
        content = pack_arrays({_ARRAY: embeddings}, {_JOB: job_id})
        self.storage.write(job_id + _SUFFIX, content)

    def get(self, job_id: str) -> NDArray[np.float32]:
        """Return embeddings (n, d), memory-mapped: processes of one machine share the memory.

        Raises
        ------
        LedgerError
            The file is damaged or belongs to another job.
        """
        return self._decode(job_id, self.storage.view(job_id + _SUFFIX))

    def ids(self) -> set[str]:
        """Return the identities of jobs with embeddings, which may be damaged."""
        return {name.removesuffix(_SUFFIX) for name in self.storage.names(_SUFFIX)}

    def find_intact(self, job_ids: set[str]) -> tuple[set[str], list[str]]:
        """Return which jobs have intact embeddings; quarantine damaged files and return those."""
        intact, damaged = set(), []
        names = (job_id + _SUFFIX for job_id in job_ids & self.ids())
        for name, data in self.storage.read_many(names):
            job_id = name.removesuffix(_SUFFIX)
            try:
                self._decode(job_id, memoryview(data))
            except LedgerError as error:
                damaged.append(f"{self.storage.quarantine(name)} ({error})")
            else:
                intact.add(job_id)
        return intact, damaged

    def _decode(self, job_id: str, data: memoryview) -> NDArray[np.float32]:
        path = self.storage.path(job_id + _SUFFIX)
        try:
            arrays, metadata = unpack_arrays(data, path)
        except CorruptFileError as error:
            raise LedgerError(str(error)) from error
        stored_id, embeddings = metadata.get(_JOB), arrays.get(_ARRAY)
        if stored_id != job_id:
            raise LedgerError(f"{path} holds the embeddings of the job {str(stored_id)[:80]}")
        if embeddings is None or (embeddings.ndim, embeddings.dtype) != (2, np.dtype(np.float32)):
            raise LedgerError(f"{path}: no embeddings (float32, molecules by dimensions)")
        return embeddings
