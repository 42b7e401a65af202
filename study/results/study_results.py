"""A study as it stands: what was asked, what is known, what is missing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from study.artifacts.study_data import StudyData
from study.artifacts.study_folder import read_spec
from study.config.study import StudySpec
from study.errors import InputError
from study.planning.contrasts import find_reference_arms
from study.planning.plan import Plan, make_plan
from study.planning.trials import Arm
from study.results.ledger import Failure, Ledger
from study.results.summary import ArmSummary, summarize
from study.results.trial_result import TrialResult
from study.storage.storage import Storage


@dataclass(frozen=True, eq=False)
class StudyResults:
    """Everything a comparison, a report or a tracking page is made from.

    Attributes
    ----------
    spec : StudySpec
    plan : Plan
    inputs : StudyData
    results : mapping of trial id to TrialResult
    failures : tuple of Failure
    """

    spec: StudySpec
    plan: Plan
    inputs: StudyData
    results: Mapping[str, TrialResult]
    failures: tuple[Failure, ...] = ()

    @cached_property
    def summaries(self) -> list[ArmSummary]:
        """One row an arm, in the order of the file."""
        results = list(self.results.values())
        positives = self.inputs.dataset.positives
        return summarize(self.plan.arms, results, positives, self.plan.per_arm)

    @cached_property
    def references(self) -> Mapping[str, str]:
        """Reference arm of each arm that has one."""
        return find_reference_arms(self.plan.arms)

    @property
    def missing(self) -> int:
        """Trials without a result."""
        return len(self.plan.arms) * self.plan.per_arm - len(self.results)

    def results_of(self, arm: Arm) -> list[TrialResult]:
        """Finished trials of an arm, in the order of seeds, repeats and folds."""
        ids = (self.inputs.trial_id(trial) for trial in self.plan.trials_of(arm))
        return [self.results[trial_id] for trial_id in ids if trial_id in self.results]


def read_results(
    spec: StudySpec,
    plan: Plan,
    inputs: StudyData,
    ledger: Ledger,
    seen: Mapping[str, TrialResult] | None = None,
) -> StudyResults:
    """Read every finished trial of a study from the ledger; those in `seen` are not read again."""
    trials = {inputs.trial_id(trial): trial for trial in plan.trials()}
    old = seen or {}
    finished = trials.keys() & ledger.ids()
    results = {key: old[key] for key in finished & old.keys()}
    results |= {result.id: result for result in ledger.get_many(finished - old.keys())}
    failures = ledger.failures(trials.keys() - results.keys())
    return StudyResults(spec, plan, inputs, results, tuple(failures))


@dataclass(frozen=True, eq=False)
class Launched:
    """A launched study, read from its own folder without its results."""

    spec: StudySpec
    plan: Plan
    inputs: StudyData
    ledger: Ledger


def open_folder(folder: Path | Storage) -> Launched:
    """Read file, data set and split of a launched study.

    Raises
    ------
    InputError
        There is no such study.
    """
    home = folder if isinstance(folder, Storage) else Storage(str(folder))
    spec = read_spec(home)
    if spec is None:
        raise InputError(f"{home.url} holds no study: launch it first, or give --storage")
    ledger = Ledger(home.above.below("ledger"))
    return Launched(spec, make_plan(spec), StudyData.load(home), ledger)


def read_folder(folder: Path | Storage) -> StudyResults:
    """Read a launched study from its own folder: its file, data set, split and results.

    Raises
    ------
    InputError
        There is no such study.
    """
    study = open_folder(folder)
    return read_results(study.spec, study.plan, study.inputs, study.ledger)


class Studied(Protocol):
    """A study that has a ledger: prepared, or opened in its folder."""

    @property
    def spec(self) -> StudySpec:
        """The study file."""

    @property
    def plan(self) -> Plan:
        """Its arms and trials."""

    @property
    def inputs(self) -> StudyData:
        """Its table and split."""

    @property
    def ledger(self) -> Ledger:
        """What is known."""


class Rereader:
    """Reads a study's record from any thread; each result is read once."""

    def __init__(self, study: Studied) -> None:
        self._study, self._turn = study, threading.Lock()
        self._seen: Mapping[str, TrialResult] = {}

    def __call__(self) -> StudyResults:
        """Return the study as it stands.

        Raises
        ------
        StudyError, OSError
            A record is damaged, or went while it was read; reading again may do.
        """
        study = self._study
        with self._turn:
            record = read_results(study.spec, study.plan, study.inputs, study.ledger, self._seen)
            self._seen = record.results
        return record
