"""A launch with its pages beside it, and what the pages must be in the end."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracking_pages import Pages
from tracking_servers import Feeding

from study.config.loading import check_study
from study.executors.base import LocalExecutor
from study.results.study_results import ResultSnapshot, Study
from study.runner.launcher import launch
from study.runner.prepare import prepare, write_study_folder
from study.tracking.background import BackgroundSync, SyncInterval
from study.tracking.mlflow_store import MLflowStore

CELLS, FITS = 5, 8
PACE = SyncInterval(min_rest=0.05, first_retry=0.2, longest_retry=1.0)
QUICK = 1.0
"""Seconds: a busy machine takes some tenths. What goes wrong in these tests ends with a later
trial: a driver that waited for the store would not get there before MLflow gave the call up."""
At = dict[int, Callable[[], object]]


@dataclass
class Told:
    """What a launch with a projector came to; `blocked` is what it cost the driver, in s."""

    record: ResultSnapshot
    notes: list[str]
    blocked: float
    written: int


def named(test: str, content: dict[str, object], folder: Path, tracking: str) -> Study:
    """Lay out a study under the name of its test: a server keeps those of several."""
    name = re.sub("[^a-z0-9]+", "_", test.removeprefix("test_"))[:60].strip("_")
    section = {"storage": str(folder / "store"), "tracking": tracking}
    study = prepare(check_study({**content, "name": name, "run": section}, "a test"))
    write_study_folder(study)
    return study


def run(
    study: Study,
    tracker: MLflowStore,
    at: At,
    pace: SyncInterval = PACE,
    notes: list[str] | None = None,
) -> Told:
    """Launch a study in this process with its pages; after these trials something happens.

    What the projector says is added to `notes`.
    """
    notes = [] if notes is None else notes
    projector = BackgroundSync(tracker, study.read_snapshot, notes.append, pace)
    feeding = Feeding(projector, at)
    record = launch(study, LocalExecutor(), None, feeding)
    assert (record.failures, feeding.done) == ((), FITS)
    return Told(record, notes, feeding.blocked, projector.finish(record))


def check_pages(tracker: MLflowStore | str, record: ResultSnapshot, fresh: MLflowStore) -> None:
    """The pages are complete, once each, and as they are when written from nothing."""
    pages, name = Pages(tracker), record.spec.name
    assert len(pages.runs(name, "study")) == 1
    assert len(pages.runs(name, "cell")) == len(pages.arms(name)) == CELLS
    fresh.sync(record)
    assert pages.shown(name) == Pages(fresh).shown(name)
    assert {status for status, *_ in pages.shown(name).values()} == {"FINISHED"}
