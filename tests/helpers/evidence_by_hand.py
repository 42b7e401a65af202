"""Evidence of a study that was never trained: labels, a split and scores made by hand."""

import numpy as np

from study.analysis.study_analysis import StudyAnalysis
from study.artifacts.study_data import StudyData
from study.config.components import ModalityConfig
from study.config.loading import read_study
from study.config.training import TrainingConfig
from study.data import OdorDataset
from study.planning.contrasts import Contrast
from study.planning.plan import Plan
from study.planning.trials import Arm, NamedModality
from study.results.ledger import Ledger
from study.results.study_results import ResultSnapshot, Study
from study.results.trial_result import TrialResult
from study.splits import Fold, Split, stratify_groups
from study.storage.storage import Storage

FOLDS = 4


def results_without_ledger(spec, plan, data, results):
    """Results of a study that were never written."""
    nowhere = Storage("unused")
    return ResultSnapshot(Study(spec, plan, data, Ledger(nowhere), nowhere), results)


def arm_of(epochs):
    feature = NamedModality("fingerprint", ModalityConfig.model_validate("fingerprint"))
    return Arm((feature,), "single", None, None, 1.0, TrainingConfig(epochs=epochs))


def table_of(labels):
    """A molecule-wise split of a label matrix."""
    rows = np.arange(len(labels))
    names = tuple(f"label {i}" for i in range(labels.shape[1]))
    data = OdorDataset("by hand", tuple(map(str, rows)), labels, names)
    part = stratify_groups(labels, rows, [1 / FOLDS] * FOLDS, np.random.default_rng(0))
    none = np.array([], dtype=np.int64)
    folds = tuple(
        Fold(0, i, rows[part == i], {1.0: rows[part != i]}, {1.0: none}) for i in range(FOLDS)
    )
    return StudyData(data, Split("molecule", 0, FOLDS, 1, (1.0,), rows, folds, data.digest), None)


def evidence_of(labels, score, seeds=(0, 1)):
    """Two arms; `score(arm, seed)` gives the scores (n, l) of arm 0 (the reference) and arm 1."""
    data, arms = table_of(labels), (arm_of(1), arm_of(2))
    plan = Plan(arms, 2, {}, (), 1, FOLDS, seeds)
    scores = {(arm, seed): score(arm, seed) for arm in (0, 1) for seed in seeds}
    results = {}
    for trial in plan.trials():
        rows = data.fold(trial).test
        results[data.trial_id(trial)] = TrialResult(
            id=data.trial_id(trial),
            trial=trial.to_json(),
            label_names=data.dataset.label_names,
            test_rows=rows,
            test_labels=labels[rows],
            scores=scores[arms.index(trial.arm), trial.seed][rows].astype(np.float32),
        )
    record = results_without_ledger(read_study("quickstart"), plan, data, results)
    return StudyAnalysis(record, (Contrast("technique", arms[1], arms[0]),))
