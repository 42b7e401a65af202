"""Run a trial that chooses its hyperparameters: a search inside its fold, then one ordinary fit.

Hyperparameters are chosen in each outer fold separately, on the inner validation part of its
training rows. The choice is not pooled over the folds of an arm: the validation part of one fold
is test data of another, so a pooled choice would have used every test molecule.

`run_trial` then builds, trains and tests the model as if the study file had set the chosen
hyperparameters. The test fold is read there, once, after everything is decided.
"""

from __future__ import annotations

import time
from dataclasses import replace

from study.artifacts.study_data import StudyData
from study.errors import InputError
from study.planning.trials import Arm, Trial
from study.results.search_log import SearchLog, find_best_index
from study.results.trial_result import TrialResult
from study.training.checkpoints import CheckpointStore
from study.training.distributed import ProcessGroup
from study.training.encoders import EncoderCache, check_workers
from study.training.equivalence import ENCODER_HYPERPARAMETERS
from study.training.search.evaluate import REFIT, SearchJournal, SequentialEvaluator
from study.training.search.methods import (
    ConfigurationTrainer,
    SearchTask,
    effective_hyperparameters,
    run_search,
)
from study.training.search.sampling import Hyperparameters, apply_values
from study.training.trial import run_trial


def run_searched_trial(
    trial: Trial,
    data: StudyData,
    ranks: ProcessGroup | None = None,
    checkpoints: CheckpointStore | None = None,
) -> TrialResult:
    """Choose the hyperparameters of a trial on its inner validation part, and run it with them.

    Parameters
    ----------
    trial : Trial
        A trial whose arm has a search.
    data : StudyData
    ranks : ProcessGroup, optional
        Process group of the training. Default: this process alone, on the CPU.
    checkpoints : CheckpointStore, optional
        Store of the trial's checkpoints: a killed search resumes after the last finished candidate.

    Returns
    -------
    TrialResult
        Result with the chosen hyperparameters and the log of the search; `seconds` counts both.

    Raises
    ------
    TrialError
        No configuration could be trained.
    """
    ranks = ranks or ProcessGroup()
    check_workers(trial.arm.training.workers if trial.arm.trains_encoders else 1, ranks)
    journal = SearchJournal(checkpoints, ranks)
    shared = EncoderCache()
    log = choose_configuration(trial, SequentialEvaluator(trial, data, shared, ranks, journal))
    chosen = apply_configuration(trial, log.winner.numbers)
    # Fitting a head takes seconds and needs no checkpoints.
    refit = journal.checkpoints_for(REFIT) if trial.arm.trains_encoders else None
    result = run_trial(chosen, data, ranks, refit, shared)
    return replace(
        result,
        id=data.trial_id(trial),
        trial=trial.to_json(),
        asked=data.request_id(trial),
        search=log.to_json(),
        seconds=log.seconds + result.seconds,
    )


def choose_configuration(trial: Trial, trainer: ConfigurationTrainer) -> SearchLog:
    """Run the search of a trial and choose the configuration with the best validation value."""
    search, default, started = trial.arm.search, trial.arm.training, time.perf_counter()
    if search is None:
        raise InputError(f"{trial}: the study file has no section 'search'; add one")
    effective = effective_hyperparameters(search, hyperparameters_without_effect(trial.arm))
    tried = run_search(SearchTask(search, default, effective, trial.torch_seed), trainer)
    seconds = time.perf_counter() - started
    monitor, best = default.monitor, find_best_index(tried)
    return SearchLog(search.method, search.budget, monitor, tried, best, seconds)


def hyperparameters_without_effect(arm: Arm) -> frozenset[str]:
    """Return the training hyperparameters that have no effect on an arm."""
    return frozenset() if arm.trains_encoders else ENCODER_HYPERPARAMETERS


def apply_configuration(trial: Trial, hyperparameters: Hyperparameters) -> Trial:
    """Return the trial that a study file with these hyperparameters would have."""
    training = apply_values(hyperparameters, trial.arm.training)
    return replace(trial, arm=replace(trial.arm, training=training, search=None))
