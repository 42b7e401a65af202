"""Out-of-fold scores of arms, gathered from finished trials."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from study.analysis.influence import Floats, compute_influence, pooled_auroc
from study.artifacts.version import Version
from study.config.study import StudySpec
from study.errors import InputError, StudyError
from study.metrics import macro_mean
from study.planning.contrasts import count_models
from study.planning.plan import Plan, make_plan
from study.planning.trials import Arm, Repeat, repeat_of
from study.results.study_results import StudyResults
from study.results.trial_result import TrialResult
from study.splits import Split


@dataclass(frozen=True, eq=False)
class ArmScores:
    """Finished trials of one arm, in the order of seeds, repeats and folds.

    Attributes
    ----------
    arm : ArmScores
    keys : tuple of Repeat, (r,)
        Rising.
    auroc, average_precision : ndarray of float64, (r, l)
        NaN where undefined.
    influence : ndarray of float32, (n, l)
        Pull of each molecule on the mean of the AUROC over the trials.
    micro : ndarray of float64, (r,)
        AUROC over all molecule and label pairs of a trial: logged, never headlined.
    parameters : float
        Trained weights, mean over the trials.
    models : int
        Models whose scores are averaged: 1 unless the arm is an ensemble.
    seconds : float
        Mean wall time of a fit.
    """

    arm: Arm
    keys: tuple[Repeat, ...]
    auroc: Floats
    average_precision: Floats
    influence: NDArray[np.float32]
    micro: Floats
    parameters: float
    models: int
    seconds: float

    @cached_property
    def level(self) -> float:
        """Macro AUROC: mean over labels, then over trials; NaN if a label is undefined."""
        return float(np.mean([macro_mean(trial).value for trial in self.auroc]))

    def values(self, weights: Floats) -> Floats:
        """Weighted sum of the AUROC over labels, (r,); labels of weight 0 may be undefined."""
        used = weights != 0
        sums: Floats = self.auroc[:, used] @ weights[used]
        return sums

    def pulls(self, weights: Floats) -> Floats:
        """Pull of each molecule on the mean of `values` over the trials, (n,)."""
        used = weights != 0
        sums: Floats = self.influence[:, used].astype(np.float64) @ weights[used]
        return sums


def build_arm_scores(
    results: Sequence[TrialResult],
    molecules: int,
    keys: Collection[Repeat] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> ArmScores:
    """Gather the finished trials of one arm.

    Parameters
    ----------
    results : sequence of TrialResult
        Of one arm, at least one.
    molecules : int
        Rows of the table, n.
    keys : collection of Repeat, optional
        Only these trials: those that another arm has too.
    groups : ndarray of int64, (n,), optional
        Groups of the split, so that the spread of few groups is not understated.

    Raises
    ------
    StudyError
        There is no such trial, or the trials are of several arms.
    """
    by_key = {repeat_of(result.spec): result for result in results}
    chosen = sorted(by_key if keys is None else by_key.keys() & set(keys))
    arms = {result.spec.arm.id for result in results}
    if not chosen or len(arms) != 1:
        raise StudyError(f"an arm is made of trials of one cell, not of {len(arms)} cells")
    trials = [by_key[key] for key in chosen]
    influence = np.zeros((molecules, len(trials[0].label_names)), dtype=np.float32)
    levels, precisions = [], []
    for trial in trials:
        own = None if groups is None else groups[trial.test_rows]
        found = compute_influence(trial.test_labels, trial.scores, own)
        levels.append(found.auroc)
        precisions.append(found.average_precision)
        influence[trial.test_rows] += (found.influence / len(trials)).astype(np.float32)
    arm = trials[0].spec.arm
    return ArmScores(
        arm=arm,
        keys=tuple(chosen),
        auroc=np.array(levels),
        average_precision=np.array(precisions),
        influence=influence,
        micro=np.array([pooled_auroc(trial.test_labels, trial.scores) for trial in trials]),
        parameters=float(np.mean([trial.counts.get("parameters", 0) for trial in trials])),
        models=count_models(arm),
        seconds=float(np.mean([trial.seconds for trial in trials])),
    )


@dataclass(frozen=True, eq=False)
class ScorePool:
    """What inference needs of a study.

    Attributes
    ----------
    spec : StudySpec
    plan : Plan
    results : mapping of arm id to sequence of TrialResult
        Every arm is named; one without trials has none.
    groups : ndarray of int64, (n,)
        Group of every molecule in the split.
    positives : ndarray of int64, (l,)
        Positives of each label in the whole table.
    label_names : tuple of str, (l,)
    digest : str
        Of table, groups and test folds.
    version : Version, optional
        What made all the trials.
    version_lines : tuple of str
        What readers are told of it: nothing if there is only the current version.
    """

    spec: StudySpec
    plan: Plan
    results: Mapping[str, Sequence[TrialResult]]
    groups: NDArray[np.int64]
    positives: NDArray[np.int64]
    label_names: tuple[str, ...]
    digest: str
    version: Version | None = None
    version_lines: tuple[str, ...] = ()
    _made: dict[object, ArmScores] = field(default_factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.spec.name

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms in the order of the file."""
        return self.plan.arms

    def can_pair(self, other: ScorePool) -> bool:
        """Whether arms can be paired with those of another pool: same folds, same version."""
        if self.version and other.version and not self.version.agrees(other.version):
            return False
        return self.digest == other.digest

    def keys(self, arm: Arm) -> frozenset[Repeat]:
        """Return the seeds, repeats and folds that an arm has finished."""
        return frozenset(repeat_of(result.spec) for result in self.results.get(arm.id, ()))

    def arm(self, arm: Arm, keys: frozenset[Repeat] | None = None) -> ArmScores:
        """Return an arm over all its trials, or over some; each is made once."""
        wanted = self.keys(arm) if keys is None else keys
        if (arm.id, wanted) not in self._made:
            made = build_arm_scores(self.results[arm.id], len(self.groups), wanted, self.groups)
            self._made[arm.id, wanted] = made
        return self._made[arm.id, wanted]


def build_score_pool(record: StudyResults) -> ScorePool:
    """Return the trials of a study that was read from the ledger."""
    data = record.data
    return ScorePool(
        spec=record.spec,
        plan=record.plan,
        results={arm.id: record.results_of(arm) for arm in record.plan.arms},
        groups=data.split.groups,
        positives=data.dataset.positives,
        label_names=data.dataset.label_names,
        digest=data.split.folds_digest,
        version=record.version,
        version_lines=tuple(record.version_lines),
    )


def build_score_pool_from_runs(
    spec: StudySpec, results: Sequence[TrialResult], split: Split, version: Version | None = None
) -> ScorePool:
    """Return the trials of a study that come from its tracking pages, without its table.

    The positives of the table are those of all test folds of one arm together. All results are
    of one version.

    Raises
    ------
    InputError
        No arm has a trial of every fold.
    """
    plan = make_plan(spec)
    by_arm: dict[str, list[TrialResult]] = {arm.id: [] for arm in plan.arms}
    for result in results:
        by_arm.get(result.spec.arm.id, []).append(result)
    labels = _labels(results, split)
    return ScorePool(
        spec=spec,
        plan=plan,
        results=by_arm,
        groups=split.groups,
        positives=labels.sum(axis=0),
        label_names=results[0].label_names,
        digest=split.folds_digest,
        version=version,
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
