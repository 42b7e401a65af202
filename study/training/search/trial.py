"""A trial that chooses its numbers: a search inside its fold, then one fit, as any trial's.

A choice is made for each outer fold by itself, from the inner validation part of its training
rows. It is not pooled over the folds of an arm: the validation part of one fold is test data of
another, so that numbers chosen on all of them together would have seen every test molecule.

The chosen numbers are then given to `run_trial`, which builds, trains and tests the model as if
the study file had named them; the test fold is read there, once, after everything is decided.
"""

from __future__ import annotations

import time
from dataclasses import replace

from study.artifacts.study_data import StudyData
from study.errors import InputError
from study.planning.trials import Arm, Trial
from study.results.search_log import SearchLog, best_index
from study.results.trial_result import TrialResult
from study.training.checkpoints import CheckpointStore
from study.training.distributed import ProcessGroup
from study.training.encoders import EncoderCache, check_workers
from study.training.equivalence import ENCODER_NUMBERS
from study.training.search.evaluate import REFIT, SearchJournal, SequentialEvaluator
from study.training.search.methods import (
    ConfigurationTrainer,
    SearchTask,
    run_search,
    sensitive_parameters,
)
from study.training.search.sampling import Numbers, apply_values
from study.training.trial import run_trial


def run_searched_trial(
    trial: Trial,
    data: StudyData,
    ranks: ProcessGroup | None = None,
    checkpoints: CheckpointStore | None = None,
) -> TrialResult:
    """Choose the numbers of a trial on its inner validation part, and run it with them.

    Parameters
    ----------
    trial : Trial
        With a search.
    data : StudyData
    ranks : ProcessGroup, optional
        Place of this process among the replicas; alone on the CPU without it.
    checkpoints : CheckpointStore, optional
        Of the trial: a search that was killed goes on after the last candidate that ended.

    Returns
    -------
    TrialResult
        Of the chosen numbers, with the log of the search; `seconds` are those of both.

    Raises
    ------
    TrialError
        No configuration could be trained.
    """
    ranks = ranks or ProcessGroup()
    check_workers(trial.arm.training.workers if trial.arm.joint else 1, ranks)
    journal = SearchJournal(checkpoints, ranks)
    shared = EncoderCache()
    log = choose_configuration(trial, SequentialEvaluator(trial, data, shared, ranks, journal))
    fixed = apply_configuration(trial, log.winner.numbers)
    kept = journal.under_way(REFIT) if trial.arm.joint else None  # a head takes seconds
    result = run_trial(fixed, data, ranks, kept, shared)
    return replace(
        result,
        id=data.trial_id(trial),
        trial=trial.to_json(),
        asked=data.asked_id(trial),
        search=log.to_json(),
        seconds=log.seconds + result.seconds,
    )


def choose_configuration(trial: Trial, trainer: ConfigurationTrainer) -> SearchLog:
    """Spend the budget of a trial, and choose the best validation value."""
    search, own, started = trial.arm.search, trial.arm.training, time.perf_counter()
    if search is None:
        raise InputError(f"{trial}: the study has no section 'search'; give it one")
    felt = sensitive_parameters(search, insensitive_parameters(trial.arm))
    tried = run_search(SearchTask(search, own, felt, trial.torch_seed), trainer)
    seconds = time.perf_counter() - started
    return SearchLog(search.method, search.budget, own.monitor, tried, best_index(tried), seconds)


def insensitive_parameters(arm: Arm) -> frozenset[str]:
    """Return the training numbers that make no difference to an arm."""
    return frozenset() if arm.joint else ENCODER_NUMBERS


def apply_configuration(trial: Trial, numbers: Numbers) -> Trial:
    """Return the trial of an arm that was given these numbers by its study file."""
    training = apply_values(numbers, trial.arm.training)
    return replace(trial, arm=replace(trial.arm, training=training, search=None))
