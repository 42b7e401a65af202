"""How the driver's work grows with the study: plan, comparison, ledger and pages.

Every size runs in a process of its own, so that its peak memory is its own. The table of the
comparison is small (200 molecules x 10 labels, 2 folds): what grows here is the number of cells.
Run: ``python tests/benchmarks/bench_growth.py``.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

from _bench import machine, say

SIZES = (100, 1_000, 10_000)
WORK = {"plan": SIZES, "comparison": SIZES, "ledger": SIZES, "pages": SIZES[:2]}
"""Cells of each piece of work; the pages of 10,000 cells would take a quarter of an hour."""
MOST = 1.15
"""Largest power of the number of cells that counts as linear, from a size to the next."""
PLAN_BAR = 2.0


def main() -> int:
    """Print the table; 1 where something grows faster than the number of cells."""
    say(f"Growth with the number of cells\n{machine()}")
    say(f"{'':<26}{'cells':>8}{'CPU s':>10}{'ms a cell':>11}{'peak MB':>9}{'power':>7}")
    status = 0
    for what, sizes in WORK.items():
        before: dict[str, Any] | None = None
        for size in sizes:
            found = in_process(what, size)
            power = _power(before, found)
            status |= int(power > MOST and size == sizes[-1])
            shown = "" if math.isnan(power) else f"{power:.2f}"
            each = 1_000 * found["cpu"] / size
            say(
                f"{what:<26}{size:>8,}{found['cpu']:>10.2f}{each:>11.3f}"
                f"{found['peak'] / 1e6:>9.0f}{shown:>7}"
            )
            status |= int(what == "plan" and size == SIZES[-1] and found["cpu"] > PLAN_BAR)
            before = found
    return status


def _power(before: dict[str, Any] | None, after: dict[str, Any]) -> float:
    """Return the power of the number of cells that the time went up with."""
    if before is None or min(before["cpu"], after["cpu"]) <= 0:
        return math.nan
    return math.log10(after["cpu"] / before["cpu"])


def in_process(what: str, size: int) -> dict[str, Any]:
    """Do one piece of work in a process of its own; return its CPU seconds and peak memory."""
    command = [sys.executable, __file__, what, str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one(what: str, size: int) -> dict[str, float]:
    """Do one piece of work; return its CPU seconds and the peak memory of the process."""
    with tempfile.TemporaryDirectory() as folder:
        makers = {"plan": _plan, "comparison": _comparison, "ledger": _ledger, "pages": _pages}
        work = makers[what](size, folder)
        began = time.process_time()
        work()
        spent = time.process_time() - began
    return {"cpu": spent, "peak": 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def _spec(size: int, folder: str) -> Any:
    from study.config.loading import check_study

    widths = [[8 + number] for number in range(size)]
    source = {"source": "simulated", "molecules": 200, "labels": 10, "skew": 2.0}
    return check_study(
        {
            "name": "growth",
            "data": {"preset": "simulated", "sources": [source]},
            "split": {"folds": 2, "min_positives": 2},
            "modalities": {"near": {"modality": "fingerprint", "radius": 1}},
            "grid": [{"features": [["fingerprint", "near"]], "training": {"hidden": widths}}],
            "run": {"storage": folder},
        },
        "the benchmark",
    )


def _plan(size: int, folder: str) -> Any:
    from study.preview.text import format_plan

    spec = _spec(size, folder)
    return lambda: format_plan(spec)


def _study(size: int, folder: str) -> Any:
    from study.artifacts.study_data import StudyData
    from study.data import load_or_build
    from study.planning.plan import make_plan
    from study.results.ledger import Ledger
    from study.results.study_results import Study
    from study.runner.prepare import build_split
    from study.storage.storage import Storage

    spec, storage = _spec(size, folder), Storage(folder)
    dataset = load_or_build(spec.data, storage.subfolder("cache", "datasets"))
    inputs = StudyData(dataset, build_split(spec, dataset), storage.subfolder("cache").address)
    ledger = Ledger(storage.subfolder("ledger"))
    return Study(spec, make_plan(spec), inputs, ledger, storage.subfolder("growth"))


def _results(study: Any) -> Any:
    import numpy as np

    from study.results.trial_result import TrialResult

    rng = np.random.default_rng(1)
    for trial in study.plan.trials():
        rows = study.data.fold(trial).test
        labels = study.data.dataset.labels[rows]
        scores = 1 / (1 + np.exp(-rng.normal(labels, 1.0)))
        yield TrialResult(
            id=study.data.trial_id(trial),
            trial=trial.to_json(),
            label_names=study.data.dataset.label_names,
            test_rows=rows,
            test_labels=labels,
            scores=scores.astype(np.float32),
        )


def _record(size: int, folder: str) -> Any:
    from study.results.study_results import ResultSnapshot

    study = _study(size, folder)
    results = {result.id: result for result in _results(study)}
    return ResultSnapshot(study, results)


def _comparison(size: int, folder: str) -> Any:
    from study.analysis.arm_scores import build_score_pool
    from study.analysis.comparison import compare_arms

    record = _record(size, folder)
    return lambda: compare_arms([build_score_pool(record)])


def _pages(size: int, folder: str) -> Any:
    from study.tracking.mlflow_store import MLflowStore

    record = _record(size, folder)
    tracker = MLflowStore(f"sqlite:///{folder}/mlflow.db", f"{folder}/artifacts")
    return lambda: tracker.sync(record)


def _ledger(size: int, folder: str) -> Any:
    study = _study(size, folder)
    results = list(_results(study))

    def work() -> None:
        for result in results:
            study.ledger.put(result)
        study.read_snapshot()

    return work


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.stdout.write(json.dumps(one(sys.argv[1], int(sys.argv[2]))))
    else:
        sys.exit(main())
