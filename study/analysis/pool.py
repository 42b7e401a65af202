"""Finished trials of one study, wherever they were read: the ledger or tracking pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from study.analysis.arms import Arm, arm_of
from study.cells import Cell, Repeat, repeat_of
from study.errors import InputError
from study.plan import Plan, make_plan
from study.record import StudyRecord
from study.result import TrialResult
from study.spec import StudySpec
from study.splits import Split


@dataclass(frozen=True, eq=False)
class Pool:
    """What inference needs of a study.

    Attributes
    ----------
    spec : StudySpec
    plan : Plan
    results : mapping of cell id to sequence of TrialResult
        Every arm is named; one without trials has none.
    groups : ndarray of int64, (n,)
        Group of every molecule in the split.
    positives : ndarray of int64, (l,)
        Positives of each label in the whole table.
    label_names : tuple of str, (l,)
    digest : str
        Of table, groups and test folds: arms of pools with one digest can be paired.
    """

    spec: StudySpec
    plan: Plan
    results: Mapping[str, Sequence[TrialResult]]
    groups: NDArray[np.int64]
    positives: NDArray[np.int64]
    label_names: tuple[str, ...]
    digest: str
    _made: dict[object, Arm] = field(default_factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.spec.name

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Arms in the order of the file."""
        return self.plan.cells

    def keys(self, cell: Cell) -> frozenset[Repeat]:
        """Return the seeds, repeats and folds that an arm has finished."""
        return frozenset(repeat_of(result.spec) for result in self.results.get(cell.id, ()))

    def arm(self, cell: Cell, keys: frozenset[Repeat] | None = None) -> Arm:
        """Return an arm over all its trials, or over some; each is made once."""
        wanted = self.keys(cell) if keys is None else keys
        if (cell.id, wanted) not in self._made:
            made = arm_of(self.results[cell.id], len(self.groups), wanted, self.groups)
            self._made[cell.id, wanted] = made
        return self._made[cell.id, wanted]


def pool_of(record: StudyRecord) -> Pool:
    """Return the trials of a study that was read from the ledger."""
    inputs = record.inputs
    return Pool(
        spec=record.spec,
        plan=record.plan,
        results={cell.id: record.results_of(cell) for cell in record.plan.cells},
        groups=inputs.split.groups,
        positives=inputs.dataset.positives,
        label_names=inputs.dataset.label_names,
        digest=inputs.split.folds_digest,
    )


def pool_of_pages(spec: StudySpec, results: Sequence[TrialResult], split: Split) -> Pool:
    """Return the trials of a study that come from its tracking pages, without its table.

    The positives of the table are those of all test folds of one arm together.

    Raises
    ------
    InputError
        No arm has a trial of every fold.
    """
    plan = make_plan(spec)
    by_cell: dict[str, list[TrialResult]] = {cell.id: [] for cell in plan.cells}
    for result in results:
        by_cell.get(result.spec.cell.id, []).append(result)
    labels = _labels(results, split)
    return Pool(
        spec=spec,
        plan=plan,
        results=by_cell,
        groups=split.groups,
        positives=labels.sum(axis=0),
        label_names=results[0].label_names,
        digest=split.folds_digest,
    )


def _labels(results: Sequence[TrialResult], split: Split) -> NDArray[np.int64]:
    """Put the table together from the test folds, (n, l)."""
    folds = {(r.spec.repeat, r.spec.fold): r for r in results if r.spec.repeat == 0}
    if len(folds) < split.n_folds:
        raise InputError(
            f"the pages hold {len(folds)} of {split.n_folds} folds: the table cannot be put "
            "together; finish the launch, or read the study from its ledger"
        )
    labels = np.zeros((len(split), len(results[0].label_names)), dtype=np.int64)
    for result in folds.values():
        labels[result.test_rows] = result.test_labels
    return labels
