"""Train and evaluate one trial: no Ray and no MLflow inside.

Training is given the labels of training rows only; `study.evaluation` is the one place that reads
the test fold, once, after training has ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from study.branches import Branch, check_workers, part_of
from study.cells import TrialSpec
from study.checkpoints import Checkpoints
from study.course import History
from study.evaluation import evaluated
from study.heads import owners_of
from study.inputs import Inputs
from study.models import model_of
from study.ranks import Ranks
from study.result import TrialResult
from study.stacked_inputs import SharedInputs
from study.training import Gather, Part, fit, predict


def run_trial(
    trial: TrialSpec,
    inputs: Inputs,
    ranks: Ranks | None = None,
    checkpoints: Checkpoints | None = None,
    shared: SharedInputs | None = None,
) -> TrialResult:
    """Train the model of a trial and score its test fold.

    Parameters
    ----------
    trial : TrialSpec
    inputs : Inputs
    ranks : Ranks, optional
        Place of this process among the replicas; alone on the CPU without it. Only a trial that
        trains encoders (calibration ``joint``) has more than one.
    checkpoints : Checkpoints, optional
        Of the training.
    shared : SharedInputs, optional
        What it shares with other trials of this process; nothing without it.

    Raises
    ------
    TrialError
        Training broke down; the message says where.
    """
    started, ranks = time.perf_counter(), ranks or Ranks()
    check_workers(trial.cell.training.workers if trial.cell.joint else 1, ranks)
    ready = made_ready(trial, inputs, shared or SharedInputs())
    history = fit(
        ready.model,
        ready.gather,
        ready.training,
        ready.validation,
        trial.cell.training,
        seed=trial.torch_seed,
        ranks=ranks,
        checkpoints=checkpoints,
    )
    return concluded(ready, inputs, history, time.perf_counter() - started)


@dataclass(frozen=True, eq=False)
class Ready:
    """A trial before its training: its parts of the training fold and its model."""

    trial: TrialSpec
    training: Part
    validation: Part
    branches: Mapping[str, Branch]
    model: nn.Module

    @property
    def gather(self) -> dict[str, Gather]:
        """Makes the batches of each modality."""
        return {name: branch.gather for name, branch in self.branches.items()}


def made_ready(trial: TrialSpec, inputs: Inputs, shared: SharedInputs) -> Ready:
    """Read what a trial is trained on and build its model."""
    fold, fraction, features = inputs.fold(trial), trial.cell.fraction, trial.cell.features
    training, validation = (part_of(inputs, part[fraction]) for part in (fold.fit, fold.validation))
    branches = {f.slot: shared.branch(f, trial, inputs, training.rows) for f in features}
    model = model_of(trial, branches, inputs, training, validation, shared.inner)
    return Ready(trial, training, validation, branches, model)


def concluded(ready: Ready, inputs: Inputs, history: History, seconds: float) -> TrialResult:
    """Score the test fold with the model of a trial that was trained in so many seconds."""
    scores = predict(ready.model, ready.gather, inputs.fold(ready.trial).test)
    sizes = {"fit": len(ready.training.rows), "validation": len(ready.validation.rows)}
    weights = _parameters(ready.model)
    counts = {**sizes, "parameters": weights, "epochs": len(history.loss)}
    result = evaluated(ready.trial, inputs, scores, counts, history, seconds)
    return replace(result, owners=owners_of(ready.model))


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
