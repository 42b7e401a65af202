"""Evidence of studies that nobody trained: scores with a chosen strength for every arm."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from evidence_by_hand import results_without_ledger

from study.analysis.study_analysis import StudyAnalysis
from study.config.loading import check_study
from study.planning.contrasts import build_default_contrasts
from study.planning.plan import make_plan
from study.results.trial_result import TrialResult

SIZES = {"a": 64, "b": 128, "c": 256}
MODALITIES = {name: {"modality": "fingerprint", "size": size} for name, size in SIZES.items()}


@dataclass(frozen=True)
class Table:
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    @property
    def label_names(self):
        return tuple(f"label{i}" for i in range(self.labels.shape[1]))

    @property
    def positives(self):
        return self.labels.sum(axis=0)


def file_of(grid, **keys):
    return {"name": "made", "data": "starter", "modalities": MODALITIES, "grid": grid, **keys}


def made(raw, strength, *, molecules=240, noise=0.3, without=lambda _: False):
    """Evidence of a study file.

    strength(cell): how far positives score above negatives, in units of the noise that all arms
    share; noise: what every trial adds to that; without(trial): trials that have no result.
    """
    spec = check_study(raw, "made.yaml")
    plan, rng = make_plan(spec), np.random.default_rng(0)
    table = Table((rng.random((molecules, 4)) < 0.3).astype(np.uint8))
    shared = rng.normal(size=table.labels.shape)
    places = np.arange(molecules) % plan.folds
    results = {}
    for trial in plan.trials():
        own = np.random.default_rng([int(trial.arm.id[:8], 16), trial.torch_seed])
        rows = np.flatnonzero(np.roll(places, trial.repeat) == trial.fold)
        truth = table.labels[rows]
        scores = strength(trial.arm) * truth + shared[rows] + noise * own.normal(size=truth.shape)
        if not without(trial):
            results[trial_id(trial)] = TrialResult(
                trial_id(trial),
                trial.to_json(),
                table.label_names,
                rows,
                truth,
                scores.astype(np.float32),
            )
    folds = [
        SimpleNamespace(
            repeat=repeat,
            index=index,
            fit={f: range(round(90 * f)) for f in spec.fractions},
            validation={f: range(round(10 * f)) for f in spec.fractions},
        )
        for repeat in range(plan.repeats)
        for index in range(plan.folds)
    ]
    split = SimpleNamespace(groups=np.arange(molecules) // 2, folds=folds)
    data = SimpleNamespace(dataset=table, split=split, trial_id=trial_id)
    return StudyAnalysis(
        results_without_ledger(spec, plan, data, results), build_default_contrasts(plan.arms)
    )


def trial_id(trial):
    return f"{trial.arm.id}-{trial.seed}-{trial.repeat}-{trial.fold}"


def macro(evidence, arm):
    """Macro AUROC of every trial of a cell, from its results."""
    return np.array([result.auroc.mean() for result in evidence.results.results_of(arm)])
