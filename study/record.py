"""A study as it stands: what was asked, what is known, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from study.analysis.summary import CellSummary, summarise
from study.cells import Cell
from study.contrasts import reference_arms
from study.errors import InputError
from study.inputs import Inputs
from study.ledger import Failure, Ledger
from study.plan import Plan, make_plan
from study.result import TrialResult
from study.spec import StudySpec
from study.spec_file import read_spec
from study.storage import Storage


@dataclass(frozen=True, eq=False)
class StudyRecord:
    """Everything a comparison, a report or a tracking page is made from.

    Attributes
    ----------
    spec : StudySpec
    plan : Plan
    inputs : Inputs
    results : mapping of trial id to TrialResult
    failures : tuple of Failure
    """

    spec: StudySpec
    plan: Plan
    inputs: Inputs
    results: Mapping[str, TrialResult]
    failures: tuple[Failure, ...] = ()

    @cached_property
    def summaries(self) -> list[CellSummary]:
        """One row a cell, in the order of the file."""
        results = list(self.results.values())
        positives = self.inputs.dataset.positives
        return summarise(self.plan.cells, results, positives, self.plan.per_cell)

    @cached_property
    def references(self) -> Mapping[str, str]:
        """Reference arm of each cell that has one."""
        return reference_arms(self.plan.cells)

    @property
    def missing(self) -> int:
        """Trials without a result."""
        return len(self.plan.cells) * self.plan.per_cell - len(self.results)

    def results_of(self, cell: Cell) -> list[TrialResult]:
        """Finished trials of a cell, in the order of seeds, repeats and folds."""
        ids = (self.inputs.trial_id(trial) for trial in self.plan.trials_of(cell))
        return [self.results[trial_id] for trial_id in ids if trial_id in self.results]


def read_record(
    spec: StudySpec,
    plan: Plan,
    inputs: Inputs,
    ledger: Ledger,
    seen: Mapping[str, TrialResult] | None = None,
) -> StudyRecord:
    """Read every finished trial of a study from the ledger; those in `seen` are not read again."""
    trials = {inputs.trial_id(trial): trial for trial in plan.trials()}
    old = seen or {}
    finished = trials.keys() & ledger.ids()
    results = {key: old[key] for key in finished & old.keys()}
    results |= {result.id: result for result in ledger.get_many(finished - old.keys())}
    failures = ledger.failures(trials.keys() - results.keys())
    return StudyRecord(spec, plan, inputs, results, tuple(failures))


@dataclass(frozen=True, eq=False)
class Launched:
    """A launched study, read from its own folder without its results."""

    spec: StudySpec
    plan: Plan
    inputs: Inputs
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
    return Launched(spec, make_plan(spec), Inputs.load(home), ledger)


def read_folder(folder: Path | Storage) -> StudyRecord:
    """Read a launched study from its own folder: its file, data set, split and results.

    Raises
    ------
    InputError
        There is no such study.
    """
    study = open_folder(folder)
    return read_record(study.spec, study.plan, study.inputs, study.ledger)
