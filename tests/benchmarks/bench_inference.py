"""Inference of a large study: 100 arms x 5 folds, 5,000 molecules x 91 labels.

The scores are random: what is measured does not depend on how good they are. Trials are written
to a ledger and read back, as after a launch.
Run: ``python tests/benchmarks/bench_inference.py``.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _bench import Cost, Row, measure, say, show

from study.analysis.sparse_gain import estimate_sparse_gain
from study.analysis.study_analysis import StudyAnalysis
from study.artifacts.study_data import StudyData
from study.config.components import ModalityConfig, OperatorConfig
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

ARMS, FOLDS, MOLECULES, LABELS = 100, 5, 5_000, 91
SECONDS, BYTES = 60.0, 4e9
SPARSE = 5
"""Contrasts whose sparse gain a report shows."""


def main() -> int:
    """Print the table; the exit status is 1 where a bar was missed."""
    with tempfile.TemporaryDirectory() as folder:
        data, plan = a_table(Path(folder)), a_plan()
        ledger = Ledger(Storage(str(Path(folder) / "ledger")))
        for result in trials(data, plan):
            ledger.put(result)
        before = peak()
        rows = list(timed(data, plan, ledger))
    status = show(f"{ARMS} arms x {FOLDS} folds, {MOLECULES} molecules x {LABELS} labels", rows)
    used = peak()
    say(f"peak memory {used / 1e9:.2f} GB ({before / 1e9:.2f} GB before), bar {BYTES / 1e9:g} GB")
    return status or int(used > BYTES)


def timed(data: StudyData, plan: Plan, ledger: Ledger) -> Iterator[Row]:
    """Read, compare and locate; the bar is on all of it."""
    found: list[ResultSnapshot] = []
    study = Study(read_study("quickstart"), plan, data, ledger, ledger.storage)
    reading = measure(lambda: found.append(study.read_snapshot()))
    evidence = evidence_of(found[0])
    findings = measure(lambda: (evidence.levels, evidence.findings))
    sparse = measure(
        lambda: [estimate_sparse_gain(evidence, c) for c in evidence.contrasts[:SPARSE]]
    )
    yield Row("read the trials", reading, f"{ARMS * FOLDS} trials")
    yield Row("levels and findings", findings, f"{len(evidence.findings)} contrasts")
    yield Row("sparse gains", sparse, f"{SPARSE} contrasts")
    parts = (reading, findings, sparse)
    whole = Cost(sum(p.wall for p in parts), sum(p.cpu for p in parts))
    yield Row("all of the inference", whole, bar=SECONDS)


def evidence_of(record: ResultSnapshot) -> StudyAnalysis:
    """Every arm against the first."""
    first, *others = record.plan.arms
    return StudyAnalysis(record, tuple(Contrast("technique", arm, first) for arm in others))


def a_table(folder: Path) -> StudyData:
    """A table of random labels, 0.6 % to 30 % positive, and its split."""
    rng = np.random.default_rng(0)
    shares = np.geomspace(0.3, 0.006, LABELS)
    labels = (rng.random((MOLECULES, LABELS)) < shares).astype(np.uint8)
    names = tuple(f"label {i}" for i in range(LABELS))
    dataset = OdorDataset("random", tuple(map(str, range(MOLECULES))), labels, names)
    rows, groups = np.arange(MOLECULES), np.arange(MOLECULES)
    part = stratify_groups(labels, groups, [1 / FOLDS] * FOLDS, rng)
    empty = np.array([], dtype=np.int64)
    folds = tuple(
        Fold(0, i, rows[part == i], {1.0: rows[part != i]}, {1.0: empty}) for i in range(FOLDS)
    )
    split = Split("molecule", 0, FOLDS, 1, (1.0,), groups, folds, dataset.digest)
    return StudyData(dataset, split, folder / "cache")


def a_plan() -> Plan:
    """Arms that differ in a number of their training."""
    features = tuple(
        NamedModality(word, ModalityConfig.model_validate(word))
        for word in ("fingerprint", "mordred")
    )
    concat = OperatorConfig.model_validate("concat")
    arms = tuple(
        Arm(features, "mlp_head", concat, None, 1.0, TrainingConfig(epochs=1 + i))
        for i in range(ARMS)
    )
    return Plan(arms, ARMS, {}, (), 1, FOLDS, (0,))


def trials(data: StudyData, plan: Plan) -> Iterator[TrialResult]:
    """Trials whose scores know a little of the labels, another little in each arm."""
    rng = np.random.default_rng(1)
    for trial in plan.trials():
        rows = data.fold(trial).test
        labels = data.dataset.labels[rows]
        scores = 1 / (1 + np.exp(-rng.normal(labels, 1.0)))
        yield TrialResult(
            id=data.trial_id(trial),
            trial=trial.to_json(),
            label_names=data.dataset.label_names,
            test_rows=rows,
            test_labels=labels,
            scores=scores.astype(np.float32),
        )


def peak() -> float:
    """Largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


if __name__ == "__main__":
    sys.exit(main())
