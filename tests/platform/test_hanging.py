"""Tasks that take too long, and launches that are asked to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

import pytest

from study.cluster import RayExecutor
from study.executor import Listener, Outcome, Outcomes, Task
from study.limits import too_long

Run = Callable[[Sequence[Task], Listener], None]


class Asked:
    """A listener that keeps what it hears, and is asked to end some seconds after a first task."""

    def __init__(self, *, stop: float = 1e9, hurry: float = 1e9) -> None:
        self._stop, self._hurry = stop, hurry
        self._first: float | None = None
        self.told: list[tuple[str, str]] = []

    def _since(self, seconds: float) -> bool:
        return self._first is not None and time.monotonic() - self._first > seconds

    @property
    def stopping(self) -> bool:
        return self._since(self._stop) or self.hurried

    @property
    def hurried(self) -> bool:
        return self._since(self._hurry)

    @property
    def overdue(self) -> float:
        """Seconds since the listener became hurried."""
        assert self._first is not None
        return time.monotonic() - self._first - self._hurry

    def began(self, task_id: str) -> None:
        self._first = self._first or time.monotonic()
        self.told.append(("began", task_id))

    def died(self, task_id: str, cause: str) -> None:  # noqa: ARG002 (contract)
        self.told.append(("died", task_id))

    def ended(self, outcome: Outcome) -> None:
        self.told.append(("ended" if outcome.finished else "failed", outcome.id))


@pytest.fixture(params=["map", "grid"])
def run(request: pytest.FixtureRequest, cluster: RayExecutor, tmp_path: Path) -> Run:
    limited = copy(cluster)
    limited.time_limit = 2.0
    if request.param == "map":
        return limited.map
    return lambda tasks, told: limited.grid(tasks, told, folder=str(tmp_path / "scratch"))


def test_a_task_that_hangs_is_ended_and_not_tried_again(run: Run, tmp_path: Path) -> None:
    found: list[Outcome] = []
    mark = str(tmp_path / "mark")
    tasks = [
        Task("stuck", "cluster_tasks:stuck", {"mark": mark}),
        Task("good", "cluster_tasks:rest", {"seconds": 0}),
    ]
    run(tasks, Outcomes(found.append))
    cause = next(outcome.cause for outcome in found if outcome.id == "stuck")
    assert cause == too_long(2.0)
    assert cause.startswith("ran longer than the limit of 0.0333333 minutes ('run.time_limit')")
    assert [outcome.id for outcome in found if outcome.finished] == ["good"]
    assert Path(mark).read_text() == "x\n"


def _rests(seconds: float) -> list[Task]:
    return [Task(str(n), "cluster_tasks:rest", {"seconds": seconds}) for n in range(30)]


def test_a_launch_that_is_to_end_begins_nothing_and_hears_of_what_runs(run: Run) -> None:
    listener = Asked(stop=0.3)
    run(_rests(1.5), listener)
    begun = [task for word, task in listener.told if word == "began"]
    assert 1 <= len(begun) < 30
    assert sorted(begun) == sorted(task for word, task in listener.told if word == "ended")
    assert len(listener.told) == 2 * len(begun)


def test_a_launch_in_a_hurry_leaves_at_once(run: Run) -> None:
    listener = Asked(hurry=0.3)
    run(_rests(1.9), listener)
    assert listener.overdue < 1.5
    assert {word for word, _ in listener.told} == {"began"}
    free: list[Outcome] = []
    run([Task("next", "cluster_tasks:rest", {"seconds": 0})], Outcomes(free.append))
    assert free == [Outcome("next", {})]
