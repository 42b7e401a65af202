"""Encoders at work: one made ready for the whole table, and the branches a trial's model reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fusion import HeadShape, MultimodalModel, SingleHead, seeded
from study.cells import Feature, TrialSpec
from study.choices import Training
from study.embeddings import EncoderJob, job_of
from study.inputs import Inputs, modality_of
from study.training import Gather, Part, Rows, fit


@dataclass(frozen=True)
class Branch:
    """A modality as the model meets it: an encoder to train, or embeddings that are ready."""

    encoder: nn.Module | None
    gather: Gather
    dim: int


def run_job(job: EncoderJob, inputs: Inputs) -> NDArray[np.float32]:
    """Make an encoder ready and embed every molecule of the table, (n, d)."""
    features = inputs.features(job.feature.choice)
    encoder = modality_of(job.feature.choice).encoder(seed=job.seed)
    rows = np.arange(len(inputs.dataset))

    def gather(some: Rows) -> dict[str, torch.Tensor]:
        return encoder.collate(features, some)

    if job.place is not None:
        fold, fraction = inputs.fold(job.place), job.place.fraction
        training, validation = (
            part_of(inputs, part[fraction]) for part in (fold.fit, fold.validation)
        )
        encoder.fit(features, training.rows)
        numbers = job.feature.choice.training
        name, shape = job.feature.slot, head_shape(numbers)
        with seeded(job.seed):
            head = SingleHead({name: encoder.dim}, len(inputs.dataset.label_names), shape)
        model = MultimodalModel({name: _module(encoder)}, head)
        fit(model, {name: gather}, training, validation, numbers, seed=job.seed)
    return _embed(_module(encoder), gather, rows)


def _embed(encoder: nn.Module, gather: Gather, rows: Rows) -> NDArray[np.float32]:
    encoder.eval()
    with torch.inference_mode():
        parts = [encoder(gather(rows[at : at + 256])) for at in range(0, len(rows), 256)]
    embeddings: NDArray[np.float32] = torch.cat(parts).numpy()
    return embeddings


def part_of(inputs: Inputs, rows: Rows) -> Part:
    """Return training rows with their labels."""
    return Part(rows, inputs.dataset.labels[rows])


def branch_of(feature: Feature, trial: TrialSpec, inputs: Inputs, training: Rows) -> Branch:
    """Read the embeddings of a feature, or transform or encode its features here."""
    job = job_of(feature, trial)
    if job is not None:
        stored = inputs.embedding_store.get(inputs.job_id(job))
        return _ready(_standardised(stored, training))
    features = inputs.features(feature.choice)
    encoder = modality_of(feature.choice).encoder(seed=trial.torch_seed)
    encoder.fit(features, training)
    if not feature.choice.trainable:
        everything = np.arange(len(features))
        transformed = _embed(_module(encoder), lambda r: encoder.collate(features, r), everything)
        return _ready(transformed)
    return Branch(_module(encoder), lambda rows: encoder.collate(features, rows), encoder.dim)


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


def _ready(embeddings: NDArray[np.float32]) -> Branch:
    return Branch(None, lambda rows: torch.from_numpy(embeddings[rows]), embeddings.shape[1])


def _module(encoder: object) -> nn.Module:
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"{type(encoder).__name__}: an encoder must be a torch module")
    return encoder


def head_shape(numbers: Training) -> HeadShape:
    """Return the shape of a head from the numbers of a training."""
    return HeadShape(hidden=numbers.hidden, dropout=numbers.dropout)
