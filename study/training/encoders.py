"""Encoders within a trial: embeddings read, transforms fitted, encoders trained."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fusion import HeadShape, MultimodalModel, SingleHead, seeded
from modalities import Encoder
from study.artifacts.embeddings import EncoderJob, encoder_job_for
from study.artifacts.study_data import StudyData, build_modality
from study.config.training import TrainingConfig
from study.errors import TrialError
from study.planning.trials import NamedModality, Trial
from study.training.checkpoints import CheckpointStore
from study.training.distributed import ProcessGroup
from study.training.freezing import check_layers
from study.training.inner_scores import compute_inner_auroc
from study.training.packing import fold_key
from study.training.supervised import Gather, LabeledRows, fit, model_device, move_batch
from study.training.trainer import Rows

EMBED_BATCH = 256


@dataclass(frozen=True)
class EncodedModality:
    """A modality as the model meets it: an encoder to train, or embeddings that are ready."""

    encoder: nn.Module | None
    gather: Gather
    dim: int


def run_encoder_job(
    job: EncoderJob,
    data: StudyData,
    ranks: ProcessGroup | None = None,
    checkpoints: CheckpointStore | None = None,
) -> NDArray[np.float32]:
    """Make an encoder ready and embed every molecule of the table, (n, d).

    Parameters
    ----------
    job : EncoderJob
    data : StudyData
    ranks : ProcessGroup, optional
        Place of this process among the replicas of the training; alone on the CPU without it.
    checkpoints : CheckpointStore, optional
        Of the training, if there is one.

    Raises
    ------
    StudyError
        The training broke down, or runs on another number of processes than it asks for.
    """
    ranks = ranks or ProcessGroup()
    features = data.features(job.feature.choice)
    encoder = build_modality(job.feature.choice).encoder(seed=job.seed)

    def gather(some: Rows) -> dict[str, torch.Tensor]:
        return encoder.collate(features, some)

    if job.place is not None:
        fold, fraction = data.fold(job.place), job.place.fraction
        encoder.fit(features, fold.fit[fraction])
        if job.feature.choice.resolved == "finetune":
            columns = data.columns(job)
            training, validation = (
                LabeledRows(part[fraction], data.dataset.labels[np.ix_(part[fraction], columns)])
                for part in (fold.fit, fold.validation)
            )
            numbers = job.feature.choice.training
            check_workers(numbers.workers, ranks)
            fit(
                _with_head(job, encoder, len(columns)),
                {job.feature.slot: gather},
                training,
                validation,
                numbers,
                seed=job.seed,
                ranks=ranks,
                checkpoints=checkpoints,
            )
    return _embed(_module(encoder).to(ranks.device), gather, np.arange(len(data.dataset)))


def _with_head(job: EncoderJob, encoder: Encoder, labels: int) -> MultimodalModel:
    """Return an encoder with the head of its own that it is trained with."""
    choice, name = job.feature.choice, job.feature.slot
    if choice.training.top_layers is not None:
        check_layers(encoder, choice.training.top_layers, job.feature.name)
    with seeded(job.seed):
        head = SingleHead({name: encoder.dim}, labels, head_shape(choice.training))
    return MultimodalModel({name: _module(encoder)}, head)


def check_workers(asked: int, ranks: ProcessGroup) -> None:
    """Check that a training of encoders runs on as many processes as its numbers say.

    Raises
    ------
    TrialError
        It would give other numbers than its identity promises.
    """
    if asked != ranks.size:
        raise TrialError(
            f"the training asks for {asked} workers and runs in {ranks.size} "
            "processes; set 'training.workers' to 1, or launch it with Ray"
        )


def _embed(encoder: nn.Module, gather: Gather, rows: Rows) -> NDArray[np.float32]:
    encoder.eval()
    device, parts = model_device(encoder), []
    with torch.inference_mode():
        for start in range(0, len(rows), EMBED_BATCH):
            batch = move_batch(gather(rows[start : start + EMBED_BATCH]), device)
            parts.append(encoder(batch).float().cpu())
    embeddings: NDArray[np.float32] = torch.cat(parts).numpy()
    return embeddings


def labeled_rows(data: StudyData, rows: Rows) -> LabeledRows:
    """Return training rows with their labels."""
    return LabeledRows(rows, data.dataset.labels[rows])


def encode_modality(
    feature: NamedModality, trial: Trial, data: StudyData, training: Rows
) -> EncodedModality:
    """Read the embeddings of a feature, or transform or encode its features here."""
    job = encoder_job_for(feature, trial)
    if job is not None:
        stored = data.embedding_store.get(data.job_id(job))
        return _ready(_standardised(stored, training))
    features = data.features(feature.choice)
    encoder = build_modality(feature.choice).encoder(seed=trial.torch_seed)
    encoder.fit(features, training)
    top_layers = trial.arm.training.top_layers
    if feature.choice.trainable and top_layers is not None:
        check_layers(encoder, top_layers, feature.name)
    if not feature.choice.trainable:
        everything = np.arange(len(features))
        transformed = _embed(_module(encoder), lambda r: encoder.collate(features, r), everything)
        return _ready(transformed)
    return EncodedModality(
        _module(encoder), lambda rows: encoder.collate(features, rows), encoder.dim
    )


def _standardised(embeddings: NDArray[np.float32], training: Rows) -> NDArray[np.float32]:
    """Scale to mean 0 and deviation 1 over the training rows; a constant column becomes 0.

    Pretrained and random encoders differ in scale by orders of magnitude: without this the
    learning rate, not the information, decides between them.
    """
    mean, deviation = embeddings[training].mean(axis=0), embeddings[training].std(axis=0)
    steady = deviation > 1e-6 * np.maximum(1, np.abs(mean))
    scaled = (embeddings - mean) * np.where(steady, 1 / np.where(steady, deviation, 1), 0)
    result: NDArray[np.float32] = scaled.astype(np.float32)
    return result


def _ready(embeddings: NDArray[np.float32]) -> EncodedModality:
    return EncodedModality(
        None, lambda rows: torch.from_numpy(embeddings[rows]), embeddings.shape[1]
    )


def _module(encoder: object) -> nn.Module:
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"{type(encoder).__name__}: an encoder must be a torch module")
    return encoder


def head_shape(numbers: TrainingConfig) -> HeadShape:
    """Return the shape of a head from the numbers of a training."""
    return HeadShape(hidden=numbers.hidden, dropout=numbers.dropout)


def build_embedding_table(branch: EncodedModality, molecules: int) -> EncodedModality:
    """Return a branch whose embeddings are ready with all of them in one tensor."""
    values: torch.Tensor = branch.gather(np.arange(molecules))

    def gather(rows: Rows) -> torch.Tensor:
        return values.index_select(0, torch.tensor(rows))

    return EncodedModality(None, gather, branch.dim)


class EncoderCache:
    """Reads each table, and measures each modality alone, once for the trials of a pack.

    Tables are standardized or fitted on the training rows of a place (repeat, fold, fraction).
    Only those of the current place are kept: trials come place by place.
    """

    def __init__(self) -> None:
        self._place: Hashable = None
        self._tables: dict[Hashable, EncodedModality] = {}
        self._scores: dict[Hashable, NDArray[np.float64]] = {}

    def branch(
        self, feature: NamedModality, trial: Trial, data: StudyData, training: Rows
    ) -> EncodedModality:
        """Do what `encode_modality` does; an encoder that the trial trains is made anew."""
        if feature.choice.resolved == "joint":
            return encode_modality(feature, trial, data, training)
        if self._place != fold_key(trial):
            self._place, self._tables = fold_key(trial), {}
        job = encoder_job_for(feature, trial)
        key = (feature.key, data.job_id(job) if job else None)
        if key not in self._tables:
            branch = encode_modality(feature, trial, data, training)
            self._tables[key] = build_embedding_table(branch, len(data.dataset))
        return self._tables[key]

    def inner(
        self,
        branches: Mapping[str, tuple[Gather, int]],
        training: LabeledRows,
        validation: LabeledRows,
        groups: NDArray[np.int64],
        trial: Trial,
    ) -> NDArray[np.float64]:
        """Do what `compute_inner_auroc` does: a modality's scores do not depend on the others'."""
        keys = {feature.slot: feature.key for feature in trial.arm.features}
        numbers = trial.arm.training.model_dump_json()
        values = []
        for name, branch in branches.items():
            key = (keys[name], fold_key(trial), trial.seed, numbers)
            if key not in self._scores:
                own = {name: branch}
                self._scores[key] = compute_inner_auroc(own, training, validation, groups, trial)
            values.append(self._scores[key])
        return np.concatenate(values)
