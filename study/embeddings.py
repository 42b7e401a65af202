"""Embeddings of a whole table, kept under the identity of the encoder job that made them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.cells import Feature, TrialSpec
from study.choices import ModalityChoice
from study.ledger import LedgerError, seal, unseal
from study.storage import Storage

_SUFFIX = ".embeddings"


@dataclass(frozen=True)
class Place:
    """Training rows of a study: a fold and the share of it that is used."""

    repeat: int
    fold: int
    fraction: float


@dataclass(frozen=True)
class EncoderJob:
    """One encoder made ready: loaded or trained, then applied to every molecule.

    Attributes
    ----------
    feature : Feature
        The modality, its options and numbers.
    place : Place or None
        Where its training rows come from; None if it is not trained.
    seed : int
        Seed of random starting weights and of the training.
    """

    feature: Feature
    place: Place | None
    seed: int

    def __str__(self) -> str:
        where = self.place
        at = f" / fraction {where.fraction:g} fold {where.fold}" if where else ""
        return f"encoder {self.feature.name}{at} seed {self.seed}"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: what crosses a process border."""
        return {
            "name": self.feature.name,
            "choice": self.feature.choice.model_dump(mode="json"),
            "place": asdict(self.place) if self.place else None,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EncoderJob:
        """Rebuild what `to_json` wrote."""
        feature = Feature(value["name"], ModalityChoice.model_validate(value["choice"]))
        place = Place(**value["place"]) if value["place"] else None
        return cls(feature, place, value["seed"])


def job_of(feature: Feature, trial: TrialSpec) -> EncoderJob | None:
    """Return the encoder job whose embeddings a trial reads; None if it reads none.

    Fitted transforms are cheap and live in the trial; joint encoders are trained there.
    """
    choice = feature.choice
    if not choice.trainable or choice.resolved == "joint":
        return None
    if choice.resolved == "finetune":
        place = Place(trial.repeat, trial.fold, trial.cell.fraction)
        return EncoderJob(feature, place, trial.torch_seed)
    return EncoderJob(feature, None, 0 if choice.options.get("weights") else trial.seed)


class EmbeddingStore:
    """Sealed arrays (n, d) by job identity."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def put(self, job_id: str, embeddings: NDArray[np.float32]) -> None:
        """Write the embeddings of every molecule, whole."""
        buffer = io.BytesIO()
        np.save(buffer, embeddings, allow_pickle=False)
        self.storage.write(job_id + _SUFFIX, seal(buffer.getvalue()))

    def get(self, job_id: str) -> NDArray[np.float32]:
        """Read embeddings (n, d); LedgerError if a byte differs from what was written."""
        name = job_id + _SUFFIX
        payload = unseal(self.storage.read(name), self.storage.path(name))
        stored: NDArray[np.float32] = np.load(io.BytesIO(payload), allow_pickle=False)
        return stored

    def sound(self, job_ids: set[str]) -> tuple[set[str], list[str]]:
        """Return which jobs have sound embeddings, and the damaged files set aside."""
        present = {name.removesuffix(_SUFFIX) for name in self.storage.names(_SUFFIX)}
        found, damaged = set(), []
        for job_id in job_ids & present:
            try:
                self.get(job_id)
            except (LedgerError, ValueError) as error:
                name = job_id + _SUFFIX
                self.storage.rename(name, name + ".corrupt")
                damaged.append(f"{self.storage.path(name)}.corrupt ({error})")
            else:
                found.add(job_id)
        return found, damaged
