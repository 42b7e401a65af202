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
        Process group of the training. Default: this process alone, on the CPU. Only a trial that
        trains encoders (calibration ``joint``) may have several processes.
    checkpoints : CheckpointStore, optional
        Store of the training's checkpoints.
    shared : EncoderCache, optional
        Cache shared with other trials of this process.

    Raises
    ------
    TrialError
        Training failed; the message says where.
    """
    started, ranks = time.perf_counter(), ranks or ProcessGroup()
    check_workers(trial.arm.training.workers if trial.arm.trains_encoders else 1, ranks)
    prepared = prepare_trial(trial, data, shared or EncoderCache())
    history = fit(
        prepared.model,
        prepared.gather,
        prepared.training,
        prepared.validation,
        trial.arm.training,
        seed=trial.torch_seed,
        ranks=ranks,
        checkpoints=checkpoints,
    )
    return evaluate_trial(prepared, data, history, time.perf_counter() - started)


@dataclass(frozen=True, eq=False)
class PreparedTrial:
    """A trial ready to train: its parts of the training fold, its modalities and its model."""

    trial: Trial
    training: LabeledRows
    validation: LabeledRows
    branches: Mapping[str, EncodedModality]
    model: nn.Module

    @property
    def gather(self) -> dict[str, Gather]:
        """Functions that build the batches of each modality."""
        return {name: branch.gather for name, branch in self.branches.items()}


def prepare_trial(trial: Trial, data: StudyData, shared: EncoderCache) -> PreparedTrial:
    """Read the data of a trial and build its model."""
    fold, fraction, features = data.fold(trial), trial.arm.fraction, trial.arm.features
    training, validation = (
        labeled_rows(data, part[fraction]) for part in (fold.fit, fold.validation)
    )
    branches = {f.module_name: shared.branch(f, trial, data, training.rows) for f in features}
    model = build_model(trial, branches, data, training, validation, shared.inner)
    return PreparedTrial(trial, training, validation, branches, model)


def evaluate_trial(
    prepared: PreparedTrial, data: StudyData, history: TrainingHistory, seconds: float
) -> TrialResult:
    """Score the test fold with a trained model and build the result; `seconds` is its duration."""
    scores = predict(prepared.model, prepared.gather, data.fold(prepared.trial).test)
    counts = {
        "fit": len(prepared.training.rows),
        "validation": len(prepared.validation.rows),
        "parameters": _count_trained_weights(prepared.model),
        "epochs": len(history.loss),
    }
    result = build_result(prepared.trial, data, scores, counts, history, seconds)
    return replace(result, owners=label_owners(prepared.model))


def _count_trained_weights(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
