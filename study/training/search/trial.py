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

from study.artifacts.study_data import Inputs
from study.errors import InputError
from study.planning.trials import Cell, TrialSpec
from study.results.search_log import SearchLog, best_of
from study.results.trial_result import TrialResult
from study.training.checkpoints import Checkpoints
from study.training.distributed import Ranks
from study.training.encoders import SharedInputs, check_workers
from study.training.equivalence import ENCODER_NUMBERS
from study.training.search.evaluate import REFIT, Alone, Journal
from study.training.search.methods import Task, Trainer, felt_numbers, spend
from study.training.search.sampling import Numbers, applied
from study.training.trial import run_trial


def run_searched(
    trial: TrialSpec,
    inputs: Inputs,
    ranks: Ranks | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrialResult:
    """Choose the numbers of a trial on its inner validation part, and run it with them.

    Parameters
    ----------
    trial : TrialSpec
        With a search.
    inputs : Inputs
    ranks : Ranks, optional
        Place of this process among the replicas; alone on the CPU without it.
    checkpoints : Checkpoints, optional
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
    ranks = ranks or Ranks()
    check_workers(trial.cell.training.workers if trial.cell.joint else 1, ranks)
    journal = Journal(checkpoints, ranks)
    shared = SharedInputs()
    log = chosen(trial, Alone(trial, inputs, shared, ranks, journal))
    fixed = with_numbers(trial, log.winner.numbers)
    kept = journal.under_way(REFIT) if trial.cell.joint else None  # a head takes seconds
    result = run_trial(fixed, inputs, ranks, kept, shared)
    return replace(
        result,
        id=inputs.trial_id(trial),
        trial=trial.to_json(),
        search=log.to_json(),
        seconds=log.seconds + result.seconds,
    )


def chosen(trial: TrialSpec, trainer: Trainer) -> SearchLog:
    """Spend the budget of a trial, and choose the best validation value."""
    search, own, started = trial.cell.search, trial.cell.training, time.perf_counter()
    if search is None:
        raise InputError(f"{trial}: the study has no section 'search'; give it one")
    felt = felt_numbers(search, unfelt_by(trial.cell))
    tried = spend(Task(search, own, felt, trial.torch_seed), trainer)
    seconds = time.perf_counter() - started
    return SearchLog(search.method, search.budget, own.monitor, tried, best_of(tried), seconds)


def unfelt_by(cell: Cell) -> frozenset[str]:
    """Return the training numbers that make no difference to an arm."""
    return frozenset() if cell.joint else ENCODER_NUMBERS


def with_numbers(trial: TrialSpec, numbers: Numbers) -> TrialSpec:
    """Return the trial of an arm that was given these numbers by its study file."""
    training = applied(numbers, trial.cell.training)
    return replace(trial, cell=replace(trial.cell, training=training, search=None))
