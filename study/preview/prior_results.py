"""What the storage of a study knows already, without training or building anything."""

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
from study.preview.cost import MeasuredTimes, head_seconds, joint_seconds, training_part
from study.results.ledger import Ledger, LedgerError
from study.results.trial_result import TrialResult
from study.results.versions import VersionResults
from study.storage.storage import Storage

MOST_READ = 100
"""Records that a plan reads at most: an answer is wanted at once."""


@dataclass(frozen=True, eq=False)
class PriorTrial:
    """One finished trial of an arm, with the groups of all molecules of its table, (n,)."""

    result: TrialResult
    groups: NDArray[np.int64]

    @cached_property
    def pulls(self) -> NDArray[np.float64]:
        """Pull of each test molecule on the macro AUROC, (t,); NaN if a label is undefined."""
        from study.analysis.influence import compute_influence

        found: NDArray[np.float64] = compute_influence(
            self.result.test_labels, self.result.scores
        ).influence
        macro: NDArray[np.float64] = found.mean(axis=1)
        return macro

    def paired_error(self, reference: PriorTrial) -> float | None:
        """Return the standard error of a difference on this fold; None: not the same fold."""
        rows, others = self.result.test_rows, reference.result.test_rows
        if not np.array_equal(rows, others) or self.groups is not reference.groups:
            return None
        pulls = self.pulls - reference.pulls
        error = float(np.sqrt((np.bincount(self.groups[rows], weights=pulls) ** 2).sum()))
        return error if np.isfinite(error) else None


@dataclass(frozen=True)
class PriorResults:
    """Earlier trials of the arms of a plan, one an arm.

    Attributes
    ----------
    samples : mapping of arm id to PriorTrial
        Of this study if it was begun, else of another study of the storage that has the arm.
    molecules, labels : int or None
        Size of the study's own table, if it was begun.
    """

    samples: Mapping[str, PriorTrial] = field(default_factory=dict)
    molecules: int | None = None
    labels: int | None = None

    def times(self, plan: Plan, molecules: int) -> MeasuredTimes:
        """Return the measured times, scaled to a table of so many molecules."""
        train, by_id = training_part(plan, molecules), {arm.id: arm for arm in plan.arms}
        measured, ratios = {}, []
        for key, sample in self.samples.items():
            arm = by_id[key]
            if arm.technique == "independent_mean":
                continue
            counts = sample.result.counts
            then = (counts.get("fit", 0) + counts.get("validation", 0)) / 1000
            scale = train * arm.fraction / then if then else 1.0
            joint = sum(joint_seconds(arm, train).values())
            measured[key] = max(0.0, sample.result.seconds * scale - joint)
            if not joint:
                ratios.append(measured[key] / head_seconds(arm, train))
        source = f"recorded trials of {len(measured)} arms" if measured else ""
        return MeasuredTimes(measured, median(ratios) if ratios else 1.0, source=source)


def read_prior_results(
    spec: StudySpec, plan: Plan, version: VersionResults | None = None
) -> PriorResults:
    """Look up earlier trials of a plan's arms in the ledger of its storage.

    Parameters
    ----------
    spec : StudySpec
    plan : Plan
    version : VersionResults, optional
        What made them; without it the current version.
    """
    root = Storage(spec.run.storage)
    own = _begun(root.below(spec.name), spec)
    ledger = Ledger(root.below("ledger"))
    known = ledger.ids()
    samples: dict[str, PriorTrial] = {}
    for name in _begun_names(root, spec.name) if known else ():
        inputs = own if own and name == spec.name else _inputs(root.below(name))
        if inputs is None:
            continue
        inputs = version.applied_to(inputs) if version else inputs
        for arm in plan.arms[:MOST_READ]:
            trial_id = _first(inputs, arm, spec.seeds) if arm.id not in samples else None
            result = _read(ledger, trial_id) if trial_id in known else None
            if result is not None:
                samples[arm.id] = PriorTrial(result, inputs.split.groups)
    if own is None:
        return PriorResults(samples)
    return PriorResults(samples, len(own.dataset), len(own.dataset.label_names))


def _begun_names(root: Storage, name: str) -> list[str]:
    """Return the names of begun studies, this one first."""
    return sorted(root.holding(NAME), key=lambda each: (each != name, each))


def _begun(home: Storage, spec: StudySpec) -> StudyData | None:
    """Return the inputs of this study if it was begun with the same data and split."""
    try:
        before = read_spec(home)
    except InputError:
        return None  # damaged or by another version: launching it again writes it anew
    if before is None:
        return None
    same = (before.data, before.split, before.fractions) == (spec.data, spec.split, spec.fractions)
    return _inputs(home) if same else None


def _inputs(home: Storage) -> StudyData | None:
    """Read the inputs of a study; damaged ones are none here, and set aside by its next launch."""
    try:
        return StudyData.load(home)
    except InputError:
        return None


def _read(ledger: Ledger, trial_id: str | None) -> TrialResult | None:
    """Read a record; a damaged one is none here, and set aside by the next launch."""
    try:
        return ledger.get(str(trial_id))
    except LedgerError:
        return None


def _first(inputs: StudyData, arm: Arm, seeds: tuple[int, ...]) -> str | None:
    """Return the identity of an arm's first trial in a study, if it can be one of its trials."""
    trial = Trial(arm, 0, 0, seeds[0])
    if arm.fraction not in inputs.fold(trial).fit:
        return None
    return inputs.trial_id(trial)
