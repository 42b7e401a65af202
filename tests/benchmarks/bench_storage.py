"""What a finished trial costs besides its training: ledger records and MLflow pages.

A study of 4,925 molecules x 91 labels in 5 folds; scores are random, nothing is trained.
Run: ``python tests/benchmarks/bench_storage.py``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from _bench import Row, measure, show

from study.config.loading import check_study
from study.planning.trials import Trial
from study.results.study_results import ResultSnapshot, Study
from study.results.trial_result import TrialResult
from study.runner.prepare import prepare, write_study_folder
from study.storage.lock import StudyLock
from study.tracking.mlflow_store import MLflowStore

STUDY = {
    "name": "storage",
    "data": {
        "sources": [{"source": "simulated", "molecules": 4926, "labels": 91}],
        "key": "isomeric",
    },
    "grid": [
        {"features": [["mordred"], ["fingerprint"]]},
        {
            "features": [["mordred", "fingerprint"]],
            "technique": ["mlp_head", "label_balancer", "independent_mean"],
        },
    ],
}


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        study = _study(folder)
        rows = [*_ledger(study), *_pages(study, Path(folder))]
    return show("Storage: trials of 985 x 91 scores", rows)


def page_seconds() -> float:
    """Return what the page of a cell of five trials takes on a new SQLite store, imports done."""
    with tempfile.TemporaryDirectory() as folder:
        study = _study(folder)
        for trial in study.plan.trials():
            study.ledger.put(_result(trial, study))
        record = _record(study)
        for name in ("first", "second"):
            tracker = MLflowStore(f"sqlite:///{folder}/{name}.db", f"{folder}/{name}")
            cost = measure(lambda tracker=tracker: tracker.sync(record))
        return cost.per(len(record.summaries)).wall


def _study(folder: str) -> Study:
    study = prepare(check_study({**STUDY, "run": {"storage": folder}}, "the benchmark"))
    write_study_folder(study)
    return study


def _ledger(study: Study) -> list[Row]:
    results = [_result(trial, study) for trial in study.plan.trials()]
    count = len(results)

    def put() -> None:
        for result in results:
            study.ledger.put(result)

    def get() -> None:
        for result in results:
            study.ledger.get(result.id)

    def lock() -> None:
        with StudyLock(study.home).hold():
            pass

    size = len(results[0].to_bytes())
    return [
        Row("ledger: put, a trial", measure(put, 3).per(count), f"{size / 1e3:.0f} kB, fsync"),
        Row("ledger: get, a trial", measure(get, 3).per(count), "checksum proven"),
        Row(f"ledger: read the study of {count} trials", measure(lambda: _record(study), 3)),
        Row("lock: take and let go", measure(lock, 5), "once a launch; then a write every 10 s"),
    ]


def _pages(study: Study, folder: Path) -> list[Row]:
    record = _record(study)
    uri, artifacts = f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")
    made = measure(lambda: MLflowStore(uri, artifacts))
    tracker = MLflowStore(uri, artifacts)
    arms = len(record.summaries)
    first = measure(lambda: tracker.sync(record))
    again = measure(lambda: tracker.sync(record))
    return [
        Row("MLflow: a new SQLite store", made, "once, with MLflow's own imports"),
        Row("MLflow: pages, a cell of 5 trials", first.per(arms), f"{arms} cells and parent"),
        Row("MLflow: nothing new, a cell", again.per(arms)),
    ]


def _record(study: Study) -> ResultSnapshot:
    return replace(study).read_snapshot()  # a copy has read nothing yet


def _result(trial: Trial, study: Study) -> TrialResult:
    """Return a finished trial with random scores and a history of 30 epochs."""
    data, fold = study.data.dataset, study.data.fold(trial)
    rng = np.random.default_rng(trial.torch_seed)
    scores = rng.random((len(fold.test), len(data.label_names)), dtype=np.float32)
    curve = tuple(float(value) for value in rng.random(30))
    return TrialResult(
        id=study.data.trial_id(trial),
        trial=trial.to_json(),
        label_names=data.label_names,
        test_rows=fold.test,
        test_labels=data.labels[fold.test],
        scores=scores,
        counts={
            "fit": 3500,
            "validation": 400,
            "test": len(fold.test),
            "parameters": 600_000,
            "epochs": 30,
            "best_epoch": 20,
        },
        history={"loss": curve, "monitored": curve},
        seconds=1.0,
        versions={"olfaction-study": "0"},
    )


if __name__ == "__main__":
    sys.exit(main())
