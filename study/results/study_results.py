"""A study as it stands: what was asked, what is known, what is missing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from study.artifacts.study_data import StudyData, current_version
from study.artifacts.study_folder import read_spec
from study.artifacts.version import Version
from study.config.study import StudySpec
from study.errors import InputError
from study.planning.contrasts import find_reference_arms
from study.planning.plan import Plan, make_plan
from study.planning.trials import Arm
from study.results.ledger import Failure, Ledger
from study.results.summary import ArmSummary, summarize
from study.results.trial_result import TrialResult
from study.results.versions import VersionResults, find_versions, name_versions, put_first
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
    versions : tuple of VersionResults
        What made the results (the first), and other versions that the ledger has results of;
        the current one is among them. Results are of one version alone.
    """

    spec: StudySpec
    plan: Plan
    inputs: StudyData
    results: Mapping[str, TrialResult]
    failures: tuple[Failure, ...] = ()
    versions: tuple[VersionResults, ...] = ()

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

    @cached_property
    def version(self) -> Version:
        """What made the results."""
        return self.inputs.version or current_version(self.plan)

    @property
    def version_lines(self) -> list[str]:
        """What readers are told of the version: nothing if there is only the current one."""
        return name_versions(self.versions)

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
    versions: tuple[VersionResults, ...] = (),
) -> StudyResults:
    """Read every finished trial of a study from the ledger; those in `seen` are not read again.

    The trials are those of the version of `inputs`.
    """
    trials = {inputs.trial_id(trial): trial for trial in plan.trials()}
    old = seen or {}
    finished = trials.keys() & ledger.ids()
    results = {key: old[key] for key in finished & old.keys()}
    results |= {result.id: result for result in ledger.get_many(finished - old.keys())}
    failures = ledger.failures(trials.keys() - results.keys())
    return StudyResults(spec, plan, inputs, results, tuple(failures), versions)


@dataclass(frozen=True, eq=False)
class Launched:
    """A launched study, read from its own folder without its results.

    Attributes
    ----------
    spec : StudySpec
    plan : Plan
    inputs : StudyData
        With the version whose results are read: the first of `versions`.
    ledger : Ledger
    versions : tuple of VersionResults
    """

    spec: StudySpec
    plan: Plan
    inputs: StudyData
    ledger: Ledger
    versions: tuple[VersionResults, ...] = ()


def open_folder(folder: Path | Storage, version: str | None = None) -> Launched:
    """Read file, data set and split of a launched study.

    Parameters
    ----------
    folder : Path or Storage
    version : str, optional
        Words of the version whose results are read; without it the one with most finished
        trials, and of equal ones the newest.

    Raises
    ------
    InputError
        There is no such study, or it has no results of that version.
    """
    home = folder if isinstance(folder, Storage) else Storage(str(folder))
    spec = read_spec(home)
    if spec is None:
        raise InputError(f"{home.url} holds no study: launch it first, or give --storage")
    ledger = Ledger(home.above.below("ledger"))
    plan, data = make_plan(spec), StudyData.load(home)
    versions = put_first(find_versions(plan, data, ledger), version)
    return Launched(spec, plan, versions[0].applied_to(data), ledger, versions)


def read_folder(folder: Path | Storage, version: str | None = None) -> StudyResults:
    """Read a launched study from its own folder: its file, data set, split and results.

    Parameters and errors as of `open_folder`.
    """
    study = open_folder(folder, version)
    return read_results(study.spec, study.plan, study.inputs, study.ledger, versions=study.versions)


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
