"""Build the results of trials from their scores; without torch, for use in the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fusion import average_scores
from study.artifacts.study_data import StudyData
from study.planning.trials import Trial
from study.results.trial_result import TrialResult

if TYPE_CHECKING:
    from study.training.trainer import TrainingHistory

_VERSIONS = ("olfaction-study", "torch", "rdkit", "numpy", "mordredcommunity", "transformers")


def run_average_trial(trial: Trial, members: Sequence[TrialResult], data: StudyData) -> TrialResult:
    """Return the result of an ``independent_mean`` trial: the mean of its members' scores."""
    scores = average_scores([member.scores for member in members]).astype(np.float32)
    counts = {key: members[0].counts[key] for key in ("fit", "validation")}
    counts["parameters"] = sum(member.counts["parameters"] for member in members)
    seconds = sum(member.seconds for member in members)
    return build_result(trial, data, scores, counts, None, seconds)


def build_result(
    trial: Trial,
    data: StudyData,
    scores: NDArray[np.float32],
    counts: Mapping[str, int],
    history: TrainingHistory | None,
    seconds: float,
) -> TrialResult:
    """Build the result of a trial: its scores with the labels of the test fold.

    Parameters
    ----------
    trial : Trial
    data : StudyData
    scores : ndarray of float32, (n, l)
        Probabilities of the molecules of the test fold.
    counts : mapping of str to int
        Numbers of training and validation molecules, trained weights and epochs.
    history : TrainingHistory or None
        None if nothing was trained.
    seconds : float
        Duration of the trial.
    """
    test = data.fold(trial).test
    curves = {"loss": history.loss, "monitored": history.monitored} if history else {}
    best = {"best_epoch": history.best_epoch} if history else {}
    return TrialResult(
        id=data.trial_id(trial),
        trial=trial.to_json(),
        label_names=data.dataset.label_names,
        test_rows=test,
        test_labels=data.dataset.labels[test],
        scores=scores,
        counts={**counts, **best, "test": len(test)},
        history=curves,
        seconds=seconds,
        versions={name: version(name) for name in _VERSIONS},
        **data.origin(trial),
    )
