"""Encoders of a trial: read embeddings, fit transforms, build encoders to train."""

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
    """A modality as input of the model: an encoder to train, or precomputed embeddings.

    Attributes
    ----------
    encoder : Module or None
        None if `gather` returns embeddings.
    gather : function
        Rows of the data set -> batch of the encoder, or embeddings (b, d).
    dim : int
        Width d of the embeddings.
    """

    encoder: nn.Module | None
    gather: Gather
    dim: int


def run_encoder_job(
    job: EncoderJob,
    data: StudyData,
    ranks: ProcessGroup | None = None,
    checkpoints: CheckpointStore | None = None,
) -> NDArray[np.float32]:
    """Load or train an encoder and embed every molecule of the table, (n, d).

    Parameters
    ----------
    job : EncoderJob
    data : StudyData
    ranks : ProcessGroup, optional
        Process group of the training. Default: this process alone, on the CPU.
    checkpoints : CheckpointStore, optional
        Store of the training's checkpoints, if the encoder is trained.

    Raises
    ------
    StudyError
        The training failed, or runs in another number of processes than its config says.
    """
    ranks = ranks or ProcessGroup()
    features = data.features(job.feature.config)
    encoder = build_modality(job.feature.config).encoder(seed=job.seed)

    def gather(rows: Rows) -> dict[str, torch.Tensor]:
        return encoder.collate(features, rows)

    if job.fold_key is not None:
        fold, fraction = data.fold(job.fold_key), job.fold_key.fraction
        encoder.fit(features, fold.fit[fraction])
        if job.feature.config.resolved == "finetune":
            columns = data.columns(job)
            training, validation = (
                LabeledRows(part[fraction], data.dataset.labels[np.ix_(part[fraction], columns)])
                for part in (fold.fit, fold.validation)
            )
            config = job.feature.config.training
            check_workers(config.workers, ranks)
            fit(
                _add_head(job, encoder, len(columns)),
                {job.feature.module_name: gather},
                training,
                validation,
                config,
                seed=job.seed,
                ranks=ranks,
                checkpoints=checkpoints,
            )
    return _embed(_as_module(encoder).to(ranks.device), gather, np.arange(len(data.dataset)))


def _add_head(job: EncoderJob, encoder: Encoder, labels: int) -> MultimodalModel:
    """Return a model of the encoder and a head, which is dropped after fine-tuning."""
    choice, name = job.feature.config, job.feature.module_name
    if choice.training.top_layers is not None:
        check_layers(encoder, choice.training.top_layers, job.feature.name)
    with seeded(job.seed):
        head = SingleHead({name: encoder.dim}, labels, head_shape(choice.training))
    return MultimodalModel({name: _as_module(encoder)}, head)


def check_workers(requested: int, ranks: ProcessGroup) -> None:
    """Check that encoders are trained in as many processes as the config says.

    Raises
    ------
    TrialError
        Another number of processes would give other results under the same identity.
    """
    if requested != ranks.size:
        raise TrialError(
            f"the training asks for {requested} workers but runs in {ranks.size} "
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
    """Read a modality's embeddings, compute them with a fitted transform, or build its encoder.

    Parameters
    ----------
    feature : NamedModality
    trial : Trial
    data : StudyData
    training : ndarray of int64, (r,)
        Training rows, on which transforms are fitted and embeddings are standardized.
    """
    job = encoder_job_for(feature, trial)
    if job is not None:
        stored = data.embedding_store.get(data.job_id(job))
        return _from_embeddings(_standardize(stored, training))
    features = data.features(feature.config)
    encoder = build_modality(feature.config).encoder(seed=trial.torch_seed)
    encoder.fit(features, training)
    top_layers = trial.arm.training.top_layers
    if feature.config.trainable and top_layers is not None:
        check_layers(encoder, top_layers, feature.name)
    if not feature.config.trainable:
        every_row = np.arange(len(features))
        transformed = _embed(_as_module(encoder), lambda r: encoder.collate(features, r), every_row)
        return _from_embeddings(transformed)
    return EncodedModality(
        _as_module(encoder), lambda rows: encoder.collate(features, rows), encoder.dim
    )


def _standardize(embeddings: NDArray[np.float32], training: Rows) -> NDArray[np.float32]:
    """Scale to mean 0 and deviation 1 over the training rows; a constant column becomes 0.

    Embeddings of pretrained and random encoders differ in scale by orders of magnitude. Without
    standardization the learning rate, not the information, would decide between them.
    """
    mean, deviation = embeddings[training].mean(axis=0), embeddings[training].std(axis=0)
    varies = deviation > 1e-6 * np.maximum(1, np.abs(mean))
    scaled = (embeddings - mean) * np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    result: NDArray[np.float32] = scaled.astype(np.float32)
    return result


def _from_embeddings(embeddings: NDArray[np.float32]) -> EncodedModality:
    return EncodedModality(
        None, lambda rows: torch.from_numpy(embeddings[rows]), embeddings.shape[1]
    )


def _as_module(encoder: object) -> nn.Module:
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"{type(encoder).__name__}: an encoder must be a torch module")
    return encoder


def head_shape(config: TrainingConfig) -> HeadShape:
    """Return the shape of a head that a training config sets."""
    return HeadShape(hidden=config.hidden, dropout=config.dropout)


def build_embedding_table(branch: EncodedModality, molecules: int) -> EncodedModality:
    """Return a modality with precomputed embeddings, all held in one tensor (n, d)."""
    values: torch.Tensor = branch.gather(np.arange(molecules))

    def gather(rows: Rows) -> torch.Tensor:
        return values.index_select(0, torch.tensor(rows))

    return EncodedModality(None, gather, branch.dim)


class EncoderCache:
    """Cache of embedding tables and inner scores, shared by the trials of a pack.

    Tables are standardized or fitted on the training rows of a repeat, fold and fraction. Only
    those of the current one are kept, since a pack runs its trials in that order.
    """

    def __init__(self) -> None:
        self._fold: Hashable = None
        self._tables: dict[Hashable, EncodedModality] = {}
        self._scores: dict[Hashable, NDArray[np.float64]] = {}

    def branch(
        self, feature: NamedModality, trial: Trial, data: StudyData, training: Rows
    ) -> EncodedModality:
        """Return what `encode_modality` returns; only encoders that a trial trains are rebuilt."""
        if feature.config.resolved == "joint":
            return encode_modality(feature, trial, data, training)
        if self._fold != fold_key(trial):
            self._fold, self._tables = fold_key(trial), {}
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
        """Return what `compute_inner_auroc` returns, (k, l).

        A modality's scores do not depend on the other modalities, so each row is cached.
        """
        keys = {feature.module_name: feature.key for feature in trial.arm.features}
        config = trial.arm.training.model_dump_json()
        values = []
        for name, branch in branches.items():
            key = (keys[name], fold_key(trial), trial.seed, config)
            if key not in self._scores:
                single = {name: branch}
                self._scores[key] = compute_inner_auroc(single, training, validation, groups, trial)
            values.append(self._scores[key])
        return np.concatenate(values)
