"""Train and evaluate one trial, or make one encoder ready: no Ray and no MLflow inside.

Training is given the labels of training rows only; `_evaluate` is the one place that reads the
test fold, once, after training has ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fusion import (
    HeadShape,
    LabelBalancer,
    MultimodalModel,
    SingleHead,
    average_scores,
    seeded,
)
from fusion.partitions import PartitionContext
from study.cells import Cell, Feature, TrialSpec
from study.choices import Training
from study.embeddings import EncoderJob, job_of
from study.inner import inner_auroc
from study.inputs import Inputs, modality_of
from study.result import TrialResult
from study.training import Gather, History, Part, Rows, fit, predict
from study.words import Vocabulary

_VERSIONS = ("olfaction-study", "torch", "rdkit", "numpy", "mordredcommunity", "torch-geometric")


@dataclass(frozen=True)
class Branch:
    """A modality as the model meets it: an encoder to train, or embeddings that are ready."""

    encoder: nn.Module | None
    gather: Gather
    dim: int


def run_trial(trial: TrialSpec, inputs: Inputs) -> TrialResult:
    """Train the model of a trial and score its test fold.

    Raises
    ------
    TrialError
        Training broke down; the message says where.
    """
    started = time.perf_counter()
    fold, fraction = inputs.fold(trial), trial.cell.fraction
    training, validation = (_part(inputs, part[fraction]) for part in (fold.fit, fold.validation))
    branches = {f.slot: _branch(f, trial, inputs, training.rows) for f in trial.cell.features}
    gather = {name: branch.gather for name, branch in branches.items()}
    model = _model(trial, branches, inputs, training, validation)
    history = fit(model, gather, training, validation, trial.cell.training, seed=trial.torch_seed)
    scores = predict(model, gather, fold.test)
    sizes = {"fit": len(training.rows), "validation": len(validation.rows)}
    counts = {**sizes, "parameters": _parameters(model), "epochs": len(history.loss)}
    return _evaluate(trial, inputs, scores, counts, history, time.perf_counter() - started)


def average_trial(trial: TrialSpec, members: Sequence[TrialResult], inputs: Inputs) -> TrialResult:
    """Return the ``independent_mean`` of models trained apart: their scores averaged, no fit."""
    scores = average_scores([member.scores for member in members]).astype(np.float32)
    counts = {key: members[0].counts[key] for key in ("fit", "validation")}
    counts["parameters"] = sum(member.counts["parameters"] for member in members)
    seconds = sum(member.seconds for member in members)
    return _evaluate(trial, inputs, scores, counts, None, seconds)


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
            _part(inputs, part[fraction]) for part in (fold.fit, fold.validation)
        )
        encoder.fit(features, training.rows)
        numbers = job.feature.choice.training
        name, shape = job.feature.slot, _shape(numbers)
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


def _part(inputs: Inputs, rows: Rows) -> Part:
    return Part(rows, inputs.dataset.labels[rows])


def _branch(feature: Feature, trial: TrialSpec, inputs: Inputs, training: Rows) -> Branch:
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


def _model(
    trial: TrialSpec,
    branches: Mapping[str, Branch],
    inputs: Inputs,
    training: Part,
    validation: Part,
) -> nn.Module:
    dims = {name: branch.dim for name, branch in branches.items()}
    context = None
    if trial.cell.technique == "label_balancer":
        context = _context(trial, branches, inputs, training, validation)
    with seeded(trial.torch_seed):
        head = build_head(trial.cell, dims, len(inputs.dataset.label_names), context)
    return MultimodalModel({name: branch.encoder for name, branch in branches.items()}, head)


def build_head(
    cell: Cell, dims: Mapping[str, int], n_labels: int, context: PartitionContext | None
) -> nn.Module:
    """Build the head of a cell: one modality, a fusion operator, or the label balancer."""
    shape = _shape(cell.training)
    if cell.technique == "single":
        return SingleHead(dims, n_labels, shape)
    if cell.fusion is not None:
        operator = Vocabulary("fusion").load(cell.fusion.word)
        module: nn.Module = operator(dims, n_labels, shape, **cell.fusion.options)
        return module
    if cell.partition is None or context is None:
        raise TypeError(f"{cell}: the technique '{cell.technique}' has no head of its own")
    rule = Vocabulary("fusion.partitions").load(cell.partition.word)(**cell.partition.options)
    return LabelBalancer(dims, n_labels, shape, rule.build(context))


def _context(
    trial: TrialSpec,
    branches: Mapping[str, Branch],
    inputs: Inputs,
    training: Part,
    validation: Part,
) -> PartitionContext:
    """Gather what a partition may know: training rows, and inner scores if its rule asks."""
    partition = trial.cell.partition
    rule = Vocabulary("fusion.partitions").load(partition.word) if partition else None
    scores = None
    if rule is not None and rule.needs_inner_scores:
        gather = {name: (branch.gather, branch.dim) for name, branch in branches.items()}
        groups = inputs.split.groups[training.rows]
        scores = inner_auroc(gather, training, validation, groups, trial)
    names = tuple(branches)
    return PartitionContext(names, training.labels, training.rows, trial.torch_seed, scores)


def _shape(numbers: Training) -> HeadShape:
    return HeadShape(hidden=numbers.hidden, dropout=numbers.dropout)


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _evaluate(
    trial: TrialSpec,
    inputs: Inputs,
    scores: NDArray[np.float32],
    counts: Mapping[str, int],
    history: History | None,
    seconds: float,
) -> TrialResult:
    """Set the scores beside the labels of the test fold: the one reading of these labels."""
    test = inputs.fold(trial).test
    curves = {"loss": history.loss, "monitored": history.monitored} if history else {}
    best = {"best_epoch": history.best_epoch} if history else {}
    return TrialResult(
        id=inputs.trial_id(trial),
        trial=trial.to_json(),
        label_names=inputs.dataset.label_names,
        test_rows=test,
        test_labels=inputs.dataset.labels[test],
        scores=scores,
        counts={**counts, **best, "test": len(test)},
        history=curves,
        seconds=seconds,
        versions={name: version(name) for name in _VERSIONS},
    )
