"""A study as it stands: what was asked, what is known, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from study.analysis.summary import CellSummary, reference_arms, summarise
from study.cells import Cell, TrialSpec
from study.inputs import Inputs
from study.ledger import Failure, Ledger
from study.plan import Plan
from study.result import TrialResult
from study.spec import StudySpec


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


def read_record(spec: StudySpec, plan: Plan, inputs: Inputs, ledger: Ledger) -> StudyRecord:
    """Read every finished trial of a study from the ledger."""
    trials = {inputs.trial_id(trial): trial for trial in plan.trials()}
    results = {trial_id: ledger.get(trial_id) for trial_id in trials.keys() & ledger.ids()}
    failures = ledger.failures(trials.keys() - results.keys())
    return StudyRecord(spec, plan, inputs, results, tuple(failures))


def missing_trials(record: StudyRecord) -> list[TrialSpec]:
    """Return the trials of the plan that have no result."""
    trials = record.plan.trials()
    return [trial for trial in trials if record.inputs.trial_id(trial) not in record.results]
