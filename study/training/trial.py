"""Run one trial: prepare its rows and model, train, score the test fold."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from study.artifacts.study_data import StudyData
from study.planning.trials import Trial
from study.results.trial_result import TrialResult
from study.training.checkpoints import CheckpointStore
from study.training.distributed import ProcessGroup
from study.training.encoders import EncodedModality, EncoderCache, check_workers, labeled_rows
from study.training.evaluation import build_result
from study.training.model import build_model, label_owners
from study.training.supervised import Gather, LabeledRows, fit, predict
from study.training.trainer import TrainingHistory


def run_trial(
    trial: Trial,
    data: StudyData,
    ranks: ProcessGroup | None = None,
    checkpoints: CheckpointStore | None = None,
    shared: EncoderCache | None = None,
) -> TrialResult:
    """Train the model of a trial and score its test fold.

    Parameters
    ----------
    trial : Trial
    data : StudyData
    ranks : ProcessGroup, optional
        Place of this process among the replicas; alone on the CPU without it. Only a trial that
        trains encoders (calibration ``joint``) has more than one.
    checkpoints : CheckpointStore, optional
        Of the training.
    shared : EncoderCache, optional
        What it shares with other trials of this process; nothing without it.

    Raises
    ------
    TrialError
        Training broke down; the message says where.
    """
    started, ranks = time.perf_counter(), ranks or ProcessGroup()
    check_workers(trial.arm.training.workers if trial.arm.joint else 1, ranks)
    ready = prepare_trial(trial, data, shared or EncoderCache())
    history = fit(
        ready.model,
        ready.gather,
        ready.training,
        ready.validation,
        trial.arm.training,
        seed=trial.torch_seed,
        ranks=ranks,
        checkpoints=checkpoints,
    )
    return evaluate_trial(ready, data, history, time.perf_counter() - started)


@dataclass(frozen=True, eq=False)
class PreparedTrial:
    """A trial before its training: its parts of the training fold and its model."""

    trial: Trial
    training: LabeledRows
    validation: LabeledRows
    branches: Mapping[str, EncodedModality]
    model: nn.Module

    @property
    def gather(self) -> dict[str, Gather]:
        """Makes the batches of each modality."""
        return {name: branch.gather for name, branch in self.branches.items()}


def prepare_trial(trial: Trial, data: StudyData, shared: EncoderCache) -> PreparedTrial:
    """Read what a trial is trained on and build its model."""
    fold, fraction, features = data.fold(trial), trial.arm.fraction, trial.arm.features
    training, validation = (
        labeled_rows(data, part[fraction]) for part in (fold.fit, fold.validation)
    )
    branches = {f.slot: shared.branch(f, trial, data, training.rows) for f in features}
    model = build_model(trial, branches, data, training, validation, shared.inner)
    return PreparedTrial(trial, training, validation, branches, model)


def evaluate_trial(
    ready: PreparedTrial, data: StudyData, history: TrainingHistory, seconds: float
) -> TrialResult:
    """Score the test fold with the model of a trial that was trained in so many seconds."""
    scores = predict(ready.model, ready.gather, data.fold(ready.trial).test)
    sizes = {"fit": len(ready.training.rows), "validation": len(ready.validation.rows)}
    weights = _parameters(ready.model)
    counts = {**sizes, "parameters": weights, "epochs": len(history.loss)}
    result = build_result(ready.trial, data, scores, counts, history, seconds)
    return replace(result, owners=label_owners(ready.model))


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
