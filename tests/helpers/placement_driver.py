"""What a launch asks of a cluster, as a process of its own, for `test_placement`.

Usage: python placement_driver.py wait ADDRESS SECONDS GPUS; or: place ADDRESS; or: hog ADDRESS;
or: leave ADDRESS FILE; or: again ADDRESS.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from listeners import Asked

from study.errors import InputError
from study.executors.base import ResultCallback, Task, TaskResult, WorkerGroup
from study.executors.ray import RayExecutor


def wait(address: str, seconds: str, gpus: str) -> str:
    """Wait for machines; say how it ended."""
    try:
        executor = RayExecutor(address, wait=float(seconds))
        executor.require([WorkerGroup(gpus=float(gpus))])
    except InputError as error:
        return str(error)
    executor.close()
    return "room"


def place(address: str) -> dict[str, object]:
    """Run encoders with a part of a GPU each, and heads without; say where and when each ran."""
    executor = RayExecutor(address)
    payload = {"seconds": 1.5, "met": tempfile.mkdtemp(), "others": 2}
    tasks = [
        Task(f"gpu {n}", "cluster_tasks:where", payload, WorkerGroup(gpus=0.5)) for n in range(4)
    ]
    alone = {"seconds": 0}
    tasks += [Task(f"cpu {n}", "cluster_tasks:where", alone) for n in range(2)]
    return _run(executor, tasks)


def hog(address: str) -> dict[str, object]:
    """Run tasks of which one takes more memory than there may be."""
    executor = RayExecutor(address, retries=1)
    tasks = [Task("hog", "cluster_tasks:hog", {"megabytes": 4000, "seconds": 60})]
    tasks += [Task(f"rest {n}", "cluster_tasks:rest", {"seconds": 0.5}) for n in range(4)]
    return _run(executor, tasks)


def leave(address: str, mark: str) -> str:
    """Leave a pair of workers in a hurry, as soon as both run."""
    executor = RayExecutor(address)
    task = Task(
        "long", "cluster_tasks:rest", {"seconds": 1000, "mark": mark}, WorkerGroup(workers=2)
    )
    executor.grid([task], Asked(hurry_at=Path(mark)), folder=tempfile.mkdtemp())
    executor.close()
    return "left"


def again(address: str) -> dict[str, object]:
    """Run a task that needs all CPUs."""
    executor = RayExecutor(address, cpus_per_task=2)
    return _run(executor, [Task("rest", "cluster_tasks:rest", {"seconds": 0})])


def _run(executor: RayExecutor, tasks: list[Task]) -> dict[str, object]:
    found: list[TaskResult] = []
    executor.grid(tasks, ResultCallback(found.append), folder=tempfile.mkdtemp())
    executor.close()
    return {outcome.id: outcome.value if outcome.finished else outcome.cause for outcome in found}


if __name__ == "__main__":
    asked = {"wait": wait, "place": place, "hog": hog, "leave": leave, "again": again}
    sys.stdout.write(json.dumps(asked[sys.argv[1]](*sys.argv[2:])) + "\n")
