"""Train and evaluate one trial: no Ray and no MLflow inside.

Training is given the labels of training rows only; `_evaluate` is the one place that reads the
test fold, once, after training has ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fusion import MultimodalModel, average_scores, seeded
from study.branches import Branch, branch_of, check_workers, part_of
from study.cells import TrialSpec
from study.checkpoints import Checkpoints
from study.course import History
from study.heads import build_head, owners_of, partition_context
from study.inputs import Inputs
from study.ranks import Ranks
from study.result import TrialResult
from study.training import Part, fit, predict

_VERSIONS = ("olfaction-study", "torch", "rdkit", "numpy", "mordredcommunity", "transformers")


def run_trial(
    trial: TrialSpec,
    inputs: Inputs,
    ranks: Ranks | None = None,
    checkpoints: Checkpoints | None = None,
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

    Raises
    ------
    TrialError
        Training broke down; the message says where.
    """
    started, ranks = time.perf_counter(), ranks or Ranks()
    check_workers(trial.cell.training.workers if trial.cell.joint else 1, ranks)
    fold, fraction = inputs.fold(trial), trial.cell.fraction
    training, validation = (part_of(inputs, part[fraction]) for part in (fold.fit, fold.validation))
    branches = {f.slot: branch_of(f, trial, inputs, training.rows) for f in trial.cell.features}
    gather = {name: branch.gather for name, branch in branches.items()}
    model = _model(trial, branches, inputs, training, validation)
    history = fit(
        model,
        gather,
        training,
        validation,
        trial.cell.training,
        seed=trial.torch_seed,
        ranks=ranks,
        checkpoints=checkpoints,
    )
    scores = predict(model, gather, fold.test)
    sizes = {"fit": len(training.rows), "validation": len(validation.rows)}
    counts = {**sizes, "parameters": _parameters(model), "epochs": len(history.loss)}
    result = _evaluate(trial, inputs, scores, counts, history, time.perf_counter() - started)
    return replace(result, owners=owners_of(model))


def average_trial(trial: TrialSpec, members: Sequence[TrialResult], inputs: Inputs) -> TrialResult:
    """Return the ``independent_mean`` of models trained apart: their scores averaged, no fit."""
    scores = average_scores([member.scores for member in members]).astype(np.float32)
    counts = {key: members[0].counts[key] for key in ("fit", "validation")}
    counts["parameters"] = sum(member.counts["parameters"] for member in members)
    seconds = sum(member.seconds for member in members)
    return _evaluate(trial, inputs, scores, counts, None, seconds)


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
        context = partition_context(trial, branches, inputs, training, validation)
    with seeded(trial.torch_seed):
        head = build_head(trial.cell, dims, len(inputs.dataset.label_names), context)
    return MultimodalModel({name: branch.encoder for name, branch in branches.items()}, head)


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
