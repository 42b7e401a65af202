"""Run one trial: prepare its rows and model, train, score the test fold."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fusion import average_scores
from study.artifacts.study_data import Inputs
from study.planning.trials import TrialSpec
from study.results.trial_result import TrialResult
from study.training.checkpoints import Checkpoints
from study.training.distributed import Ranks
from study.training.encoders import Branch, SharedInputs, check_workers, part_of
from study.training.model import model_of, owners_of
from study.training.supervised import Gather, Part, fit, predict
from study.training.trainer import History

_VERSIONS = ("olfaction-study", "torch", "rdkit", "numpy", "mordredcommunity", "transformers")


def average_trial(trial: TrialSpec, members: Sequence[TrialResult], inputs: Inputs) -> TrialResult:
    """Return the ``independent_mean`` of models trained apart: their scores averaged, no fit."""
    scores = average_scores([member.scores for member in members]).astype(np.float32)
    counts = {key: members[0].counts[key] for key in ("fit", "validation")}
    counts["parameters"] = sum(member.counts["parameters"] for member in members)
    seconds = sum(member.seconds for member in members)
    return evaluated(trial, inputs, scores, counts, None, seconds)


def evaluated(
    trial: TrialSpec,
    inputs: Inputs,
    scores: NDArray[np.float32],
    counts: Mapping[str, int],
    history: History | None,
    seconds: float,
) -> TrialResult:
    """Set scores beside the labels of the test fold.

    Parameters
    ----------
    trial : TrialSpec
    inputs : Inputs
    scores : ndarray of float32, (n, l)
        Probabilities of the molecules of the test fold.
    counts : mapping of str to int
        Molecules of the other parts, trained weights, epochs.
    history : History or None
        Of the training, if there was one.
    seconds : float
        What it took.
    """
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
