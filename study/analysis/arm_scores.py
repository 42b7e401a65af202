"""Out-of-fold scores of arms, collected from finished trials."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from study.analysis.influence import Floats, compute_influence, compute_pooled_auroc
from study.artifacts.version import Version
from study.config.study import StudySpec
from study.errors import InputError, StudyError
from study.metrics import macro_mean
from study.planning.contrasts import count_models
from study.planning.plan import Plan, make_plan
from study.planning.trials import Arm, Repeat, get_repeat
from study.results.study_results import ResultSnapshot
from study.results.trial_result import TrialResult
from study.splits import Split


@dataclass(frozen=True, eq=False)
class ArmScores:
    """Scores of the finished trials of one arm, ordered by seed, repeat and fold.

    Attributes
    ----------
    arm : Arm
    keys : tuple of Repeat, (r,)
        Seed, repeat and fold of each trial, ascending.
    auroc, average_precision : ndarray of float64, (r, l)
        NaN where undefined.
    influence : ndarray of float32, (n, l)
        Influence of each molecule on the AUROC of each label, averaged over the trials.
    micro : ndarray of float64, (r,)
        AUROC over all pairs of molecule and label of a trial; never used for verdicts.
    parameters : float
        Number of trained weights, mean over the trials.
    models : int
        Number of models whose scores are averaged: 1 unless the arm is an ensemble.
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
        """Macro AUROC, mean over the trials; NaN if a label is undefined."""
        return float(np.mean([macro_mean(trial).value for trial in self.auroc]))

    def values(self, weights: Floats) -> Floats:
        """Return the weighted sum of the AUROC over labels, (r,).

        Labels of weight 0 may be undefined.
        """
        used = weights != 0
        sums: Floats = self.auroc[:, used] @ weights[used]
        return sums

    def weighted_influence(self, weights: Floats) -> Floats:
        """Return the influence of each molecule on the mean of `values` over the trials, (n,)."""
        used = weights != 0
        sums: Floats = self.influence[:, used].astype(np.float64) @ weights[used]
        return sums


def build_arm_scores(
    results: Sequence[TrialResult],
    molecules: int,
    keys: Collection[Repeat] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> ArmScores:
    """Collect the scores of the finished trials of one arm.

    Parameters
    ----------
    results : sequence of TrialResult
        Results of one arm, at least one.
    molecules : int
        Number of molecules in the data set, n.
    keys : collection of Repeat, optional
        Restrict to these trials, for example those that another arm has finished too.
    groups : ndarray of int64, (n,), optional
        Groups of the split; they correct the variance of labels with few distinct groups.

    Raises
    ------
    StudyError
        No trial is left, or the trials belong to several arms.
    """
    by_key = {get_repeat(result.spec): result for result in results}
    chosen = sorted(by_key if keys is None else by_key.keys() & set(keys))
    arms = {result.spec.arm.id for result in results}
    if not chosen or len(arms) != 1:
        raise StudyError(
            f"scores need at least one trial, all of one arm; there are {len(chosen)} trials of "
            f"{len(arms)} arms"
        )
    trials = [by_key[key] for key in chosen]
    influence = np.zeros((molecules, len(trials[0].label_names)), dtype=np.float32)
    levels, precisions = [], []
    for trial in trials:
        test_groups = None if groups is None else groups[trial.test_rows]
        influence_curve = compute_influence(trial.test_labels, trial.scores, test_groups)
        levels.append(influence_curve.auroc)
        precisions.append(influence_curve.average_precision)
        influence[trial.test_rows] += (influence_curve.influence / len(trials)).astype(np.float32)
    arm = trials[0].spec.arm
    return ArmScores(
        arm=arm,
        keys=tuple(chosen),
        auroc=np.array(levels),
        average_precision=np.array(precisions),
        influence=influence,
        micro=np.array([compute_pooled_auroc(trial.test_labels, trial.scores) for trial in trials]),
        parameters=float(np.mean([trial.counts.get("parameters", 0) for trial in trials])),
        models=count_models(arm),
        seconds=float(np.mean([trial.seconds for trial in trials])),
    )


@dataclass(frozen=True, eq=False)
class ScorePool:
    """Results of a study as comparisons use them: trials by arm, groups and label counts.

    Attributes
    ----------
    spec : StudySpec
    plan : Plan
    results : mapping of arm id to sequence of TrialResult
        Has a key for every arm; an arm without trials has an empty sequence.
    groups : ndarray of int64, (n,)
        Split group of every molecule.
    positives : ndarray of int64, (l,)
        Number of positives of each label in the whole data set.
    label_names : tuple of str, (l,)
    digest : str
        Digest of data set, groups and test folds.
    version : Version, optional
        Version that produced all the trials.
    version_lines : tuple of str
        Lines for the user that name the version; empty if there is only the current one.
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
    _cache: dict[object, ArmScores] = field(default_factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.spec.name

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms in the order of the study file."""
        return self.plan.arms

    def can_pair(self, other: ScorePool) -> bool:
        """Whether arms can be paired with those of `other`: same folds and same version."""
        if self.version and other.version and not self.version.agrees(other.version):
            return False
        return self.digest == other.digest

    def keys(self, arm: Arm) -> frozenset[Repeat]:
        """Return the seeds, repeats and folds that an arm has finished."""
        return frozenset(get_repeat(result.spec) for result in self.results.get(arm.id, ()))

    def arm(self, arm: Arm, keys: frozenset[Repeat] | None = None) -> ArmScores:
        """Return the scores of an arm over all its trials or over `keys`; cached."""
        chosen = self.keys(arm) if keys is None else keys
        if (arm.id, chosen) not in self._cache:
            scores = build_arm_scores(self.results[arm.id], len(self.groups), chosen, self.groups)
            self._cache[arm.id, chosen] = scores
        return self._cache[arm.id, chosen]


def build_score_pool(results: ResultSnapshot) -> ScorePool:
    """Return the score pool of results that were read from the ledger."""
    data = results.data
    return ScorePool(
        spec=results.spec,
        plan=results.plan,
        results={arm.id: results.results_of(arm) for arm in results.plan.arms},
        groups=data.split.groups,
        positives=data.dataset.positives,
        label_names=data.dataset.label_names,
        digest=data.split.folds_digest,
        version=results.version,
        version_lines=tuple(results.version_lines),
    )


def build_score_pool_from_runs(
    spec: StudySpec, results: Sequence[TrialResult], split: Split, version: Version | None = None
) -> ScorePool:
    """Return the score pool of results that were read from MLflow, without the data set.

    The labels of the data set are put together from the test folds. All results must have the
    same version.

    Raises
    ------
    InputError
        The results do not cover every test fold.
    """
    plan = make_plan(spec)
    by_arm: dict[str, list[TrialResult]] = {arm.id: [] for arm in plan.arms}
    for result in results:
        by_arm.get(result.spec.arm.id, []).append(result)
    labels = _assemble_labels(results, split)
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


def _assemble_labels(results: Sequence[TrialResult], split: Split) -> NDArray[np.int64]:
    """Put the labels of the data set together from the test folds, (n, l)."""
    folds = {(r.spec.repeat, r.spec.fold): r for r in results if r.spec.repeat == 0}
    if len(folds) < split.n_folds:
        raise InputError(
            f"the tracking store holds {len(folds)} of {split.n_folds} folds, so the labels of "
            "the data set are not known; finish the launch, or read the study from its ledger"
        )
    labels = np.zeros((len(split), len(results[0].label_names)), dtype=np.int64)
    for result in folds.values():
        labels[result.test_rows] = result.test_labels
    return labels
