"""Finished trials in the storage of a study, read without training or building anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

import numpy as np
from numpy.typing import NDArray

from study.artifacts.study_data import StudyData
from study.artifacts.study_folder import NAME, read_spec
from study.config.study import StudySpec
from study.errors import InputError
from study.planning.plan import Plan
from study.planning.trials import Arm, Trial
from study.preview.cost import (
    MeasuredTimes,
    count_training_molecules,
    estimate_head_seconds,
    estimate_joint_seconds,
)
from study.results.ledger import Ledger, LedgerError
from study.results.trial_result import TrialResult
from study.results.versions import VersionResults
from study.storage.storage import Storage

MAX_ARMS = 100
"""Largest number of arms whose results a plan reads, so that it answers at once."""


@dataclass(frozen=True, eq=False)
class PriorTrial:
    """One finished trial of an arm, with the groups of all molecules of its data set, (n,)."""

    result: TrialResult
    groups: NDArray[np.int64]

    @cached_property
    def influence(self) -> NDArray[np.float64]:
        """Influence of each test molecule on macro AUROC, (t,); NaN if a label is undefined."""
        from study.analysis.influence import compute_influence

        by_label: NDArray[np.float64] = compute_influence(
            self.result.test_labels, self.result.scores
        ).influence
        macro: NDArray[np.float64] = by_label.mean(axis=1)
        return macro

    def paired_error(self, reference: PriorTrial) -> float | None:
        """Return the standard error of the difference on this fold; None for another fold."""
        rows, reference_rows = self.result.test_rows, reference.result.test_rows
        if not np.array_equal(rows, reference_rows) or self.groups is not reference.groups:
            return None
        influence = self.influence - reference.influence
        # Molecules of one group are not independent, so their influences are summed first.
        error = float(np.sqrt((np.bincount(self.groups[rows], weights=influence) ** 2).sum()))
        return error if np.isfinite(error) else None


@dataclass(frozen=True)
class PriorResults:
    """Finished trials of the arms of a plan, at most one per arm.

    Attributes
    ----------
    trials : mapping of arm id to PriorTrial
        Trials of this study if it was launched, else of another study in the storage.
    molecules, labels : int or None
        Size of the study's data set, if the study was launched.
    """

    trials: Mapping[str, PriorTrial] = field(default_factory=dict)
    molecules: int | None = None
    labels: int | None = None

    def times(self, plan: Plan, molecules: int) -> MeasuredTimes:
        """Return the measured times, scaled to a data set with this number of molecules."""
        train, by_id = count_training_molecules(plan, molecules), {arm.id: arm for arm in plan.arms}
        measured, ratios = {}, []
        for arm_id, trial in self.trials.items():
            arm = by_id[arm_id]
            if arm.technique == "independent_mean":
                continue
            counts = trial.result.counts
            trained_on = (counts.get("fit", 0) + counts.get("validation", 0)) / 1000
            scale = train * arm.fraction / trained_on if trained_on else 1.0
            joint = sum(estimate_joint_seconds(arm, train).values())
            measured[arm_id] = max(0.0, trial.result.seconds * scale - joint)
            if not joint:
                ratios.append(measured[arm_id] / estimate_head_seconds(arm, train))
        source = f"recorded trials of {len(measured)} arms" if measured else ""
        return MeasuredTimes(measured, median(ratios) if ratios else 1.0, source=source)


def read_prior_results(
    spec: StudySpec, plan: Plan, version: VersionResults | None = None
) -> PriorResults:
    """Read finished trials of a plan's arms from the ledger of its storage.

    Parameters
    ----------
    spec : StudySpec
    plan : Plan
    version : VersionResults, optional
        Version of the results to read; default: the current version.
    """
    root = Storage(spec.run.storage)
    own_data = _read_own_data(root.subfolder(spec.name), spec)
    ledger = Ledger(root.subfolder("ledger"))
    finished = ledger.ids()
    trials: dict[str, PriorTrial] = {}
    for name in _list_launched_studies(root, spec.name) if finished else ():
        data = own_data if own_data and name == spec.name else _read_data(root.subfolder(name))
        if data is None:
            continue
        data = version.applied_to(data) if version else data
        for arm in plan.arms[:MAX_ARMS]:
            trial_id = _find_first_trial(data, arm, spec.seeds) if arm.id not in trials else None
            result = _read_result(ledger, trial_id) if trial_id in finished else None
            if result is not None:
                trials[arm.id] = PriorTrial(result, data.split.groups)
    if own_data is None:
        return PriorResults(trials)
    return PriorResults(trials, len(own_data.dataset), len(own_data.dataset.label_names))


def _list_launched_studies(root: Storage, first: str) -> list[str]:
    """Return the names of launched studies, sorted, but with the study `first` in front."""
    return sorted(root.find_folders_with(NAME), key=lambda name: (name != first, name))


def _read_own_data(home: Storage, spec: StudySpec) -> StudyData | None:
    """Return the data of this study if it was launched with the same data set and split."""
    try:
        launched = read_spec(home)
    except InputError:
        return None  # damaged or from another version: the next launch rewrites it
    if launched is None:
        return None
    before = (launched.data, launched.split, launched.fractions)
    return _read_data(home) if before == (spec.data, spec.split, spec.fractions) else None


def _read_data(home: Storage) -> StudyData | None:
    """Read the data of a study; None if they are damaged (its next launch repairs them)."""
    try:
        return StudyData.load(home)
    except InputError:
        return None


def _read_result(ledger: Ledger, trial_id: str | None) -> TrialResult | None:
    """Read a result; None if it is damaged (the next launch repairs it)."""
    try:
        return ledger.get(str(trial_id))
    except LedgerError:
        return None


def _find_first_trial(data: StudyData, arm: Arm, seeds: tuple[int, ...]) -> str | None:
    """Return the id of an arm's first trial in a study; None if the study lacks its fraction."""
    trial = Trial(arm, 0, 0, seeds[0])
    if arm.fraction not in data.fold(trial).fit:
        return None
    return data.trial_id(trial)
