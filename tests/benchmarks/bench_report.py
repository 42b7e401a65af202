"""Report of a large study: 102 arms x 5 folds, 5,000 molecules x 91 labels, three fractions.

The scores are random: what is measured does not depend on how good they are.
Run: ``python tests/benchmarks/bench_report.py``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from _bench import Cost, Row, measure, show

from study.analysis.study_analysis import StudyAnalysis
from study.artifacts.study_data import StudyData
from study.config.loading import check_study
from study.config.study import StudySpec
from study.planning.contrasts import build_contrasts
from study.planning.plan import Plan, make_plan
from study.reporting.build import compose_report, write_report
from study.reporting.document import Document
from study.results.study_results import ResultSnapshot
from study.results.trial_result import TrialResult
from study.runner.prepare import prepare

MOLECULES, LABELS, SECONDS = 5_000, 91, 60.0
ALONE = ["bits", "rings", "pairs", "paths"]
"""Modalities: none has an encoder, so that nothing has to be trained."""


def main() -> int:
    """Print the table; the exit status is 1 where the bar was missed."""
    with tempfile.TemporaryDirectory() as folder:
        spec = a_study(folder)
        study = prepare(spec)
        plan = make_plan(spec)
        found = {result.id: result for result in trials(study.data, plan)}
        record = ResultSnapshot(replace(study, plan=plan), found)
        rows = list(timed(record, Path(folder) / "report"))
    title = (
        f"{len(plan.arms)} arms x {plan.trials_per_arm} trials, {MOLECULES} molecules x {LABELS}"
    )
    return show(f"report of {title} labels", rows)


def timed(record: ResultSnapshot, folder: Path) -> Iterator[Row]:
    """Infer, compose and write; the bar is on all of it."""
    evidence = StudyAnalysis(record, build_contrasts(record.spec, record.plan))
    made: list[Document] = []
    parts = [
        measure(lambda: (evidence.levels, evidence.findings)),
        measure(lambda: made.append(compose_report(evidence))),
        measure(lambda: write_report(made[0], folder)),
    ]
    drawn = f"{len(made[0].figures)} figures, {len(made[0].tables)} tables"
    notes = (f"{len(evidence.findings)} contrasts", drawn, f"{size(folder) / 1e6:.1f} MB")
    for what, cost, note in zip(("inference", "sections", "files"), parts, notes, strict=True):
        yield Row(what, cost, note)
    whole = Cost(sum(part.wall for part in parts), sum(part.cpu for part in parts))
    yield Row("the whole report", whole, bar=SECONDS)


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def a_study(folder: str) -> StudySpec:
    """Single modalities, pairs and a triple by operators, with every technique and control."""
    source = {"source": "simulated", "molecules": MOLECULES, "labels": LABELS, "skew": 2.0}
    pairs = [[one, other] for i, one in enumerate(ALONE) for other in ALONE[i + 1 :]]
    raw = {
        "name": "large",
        "data": {"preset": "simulated", "sources": [source]},
        "split": {"folds": 5, "min_positives": 1},
        "modalities": {
            name: {"modality": "fingerprint", "radius": radius, "size": 256}
            for radius, name in enumerate(ALONE)
        },
        "grid": [
            {"features": [[name] for name in ALONE]},
            {
                "features": [*pairs, ALONE[:3]],
                "technique": ["mlp_head", "label_balancer", "independent_mean"],
                "fusion": [{"operator": "concat", "stage": "latent"}],
                "partition": ["random_per_batch", "density"],
            },
            {
                "features": [ALONE[:3]],
                "fusion": [{"operator": "product", "stage": "label"},
                           {"operator": "parallel", "stage": "label"}],
            },
        ],
        "fractions": [0.25, 0.5, 1.0],
        "run": {"storage": folder},
    }  # fmt: skip
    return check_study(raw, "large.yaml")


def trials(data: StudyData, plan: Plan) -> Iterator[TrialResult]:
    """Trials whose scores know a little of the labels, a little more with more data."""
    rng = np.random.default_rng(1)
    for trial in plan.trials():
        rows = data.fold(trial).test
        labels = data.dataset.labels[rows]
        signal = 1 + 0.2 * np.log2(trial.arm.fraction) + 0.2 * len(trial.arm.features)
        scores = 1 / (1 + np.exp(-rng.normal(signal * labels, 1.0)))
        fixed = trial.arm.partition is not None and trial.arm.partition.name == "density"
        owners = rng.integers(len(trial.arm.features), size=labels.shape[1])
        yield TrialResult(
            id=data.trial_id(trial),
            trial=trial.to_json(),
            label_names=data.dataset.label_names,
            test_rows=rows,
            test_labels=labels,
            scores=scores.astype(np.float32),
            counts={"parameters": int(rng.integers(1_000, 100_000)), "best_epoch": 10},
            seconds=float(rng.gamma(2.0)),
            owners=tuple(owners.tolist()) if fixed else (),
        )


if __name__ == "__main__":
    sys.exit(main())
