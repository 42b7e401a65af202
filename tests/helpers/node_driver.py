"""A launch on a cluster as a process of its own, which says what it hears; `test_nodes` reads it.

Usage: python node_driver.py ADDRESS STUDY [NOTICE]: the second is a JSON study file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from study.config.loading import check_study
from study.executors.base import Executor, Task, TaskCallback, TaskResult
from study.executors.ray import RayExecutor
from study.progress import ProgressCallback
from study.runner.launcher import launch
from study.runner.prepare import prepare, write_study_folder


def say(word: str, *rest: str) -> None:
    print("\t".join((word, *rest)), flush=True)  # noqa: T201 (this is what the test reads)


class Loud:
    """A listener that says what it hears on the way to another one."""

    def __init__(self, to: TaskCallback) -> None:
        self._to = to

    @property
    def stopping(self) -> bool:
        return self._to.stopping

    @property
    def hurried(self) -> bool:
        return self._to.hurried

    def began(self, task_id: str) -> None:
        say("began", task_id)
        self._to.began(task_id)

    def died(self, task_id: str, cause: str) -> None:
        say("died", task_id, cause)
        self._to.died(task_id, cause)

    def ended(self, outcome: TaskResult) -> None:
        say("ended", outcome.id, outcome.cause)
        self._to.ended(outcome)


class Watched:
    """An executor whose grids are heard."""

    def __init__(self, executor: RayExecutor) -> None:
        self.require, self.map, self.close = executor.require, executor.map, executor.close
        self.slots = executor.slots
        self._executor = executor

    def grid(self, tasks: list[Task], listener: TaskCallback, *, folder: str) -> None:
        self._executor.grid(tasks, Loud(listener), folder=folder)


def main(address: str, file: str) -> None:
    study = prepare(check_study(json.loads(Path(file).read_text(encoding="utf-8")), file))
    write_study_folder(study)
    ray = RayExecutor(address, cpus_per_task=study.spec.run.cpus_per_trial)
    executor: Executor = Watched(ray)
    try:
        record = launch(study, executor, None, ProgressCallback())
        say("record", str(record.missing), str(len(record.by_id)), str(len(record.failures)))
    finally:
        executor.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
