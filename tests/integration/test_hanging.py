"""Tasks that take too long, and launches that are asked to end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

import pytest
import torch
from listeners import Asked

from study.errors import OutOfMemoryError
from study.executors.base import ResultCallback, Task, TaskCallback, TaskResult
from study.executors.failures import FailureKind, classify_failure, format_cause
from study.executors.ray import RayExecutor
from study.executors.retries import MOST_PREEMPTIONS, TOLERANCE, RetryQueue
from study.executors.timeouts import (
    TimeLimitError,
    call_within,
    raise_after,
    time_limit_message,
)
from study.training.distributed import ProcessGroup

pytestmark = pytest.mark.ray

Run = Callable[[Sequence[Task], TaskCallback], None]


@pytest.fixture
def limit() -> float:
    return 10.0  # more than a task that does nothing takes on a busy machine


@pytest.fixture(params=["map", "grid"])
def run(request: pytest.FixtureRequest, cluster: RayExecutor, tmp_path: Path, limit: float) -> Run:
    limited = copy(cluster)
    limited.time_limit = limit
    if request.param == "map":
        return limited.map
    return lambda tasks, told: limited.grid(tasks, told, folder=str(tmp_path / "scratch"))


@pytest.mark.slow
def test_a_task_that_hangs_is_ended_and_not_tried_again(run: Run, tmp_path: Path) -> None:
    found: list[TaskResult] = []
    mark = str(tmp_path / "mark")
    tasks = [
        Task("stuck", "cluster_tasks:stuck", {"mark": mark}),
        Task("good", "cluster_tasks:rest", {"seconds": 0}),
    ]
    run(tasks, ResultCallback(found.append))
    stuck = next(outcome for outcome in found if outcome.id == "stuck")
    cause = stuck.cause
    assert stuck.kind is FailureKind.TIMED_OUT
    assert cause == time_limit_message(10.0)
    assert cause.startswith("ran longer than the limit of 0.166667 minutes ('run.time_limit')")
    assert [outcome.id for outcome in found if outcome.finished] == ["good"]
    assert Path(mark).read_text() == "x\n"


def _rests(seconds: float) -> list[Task]:
    return [Task(str(n), "cluster_tasks:rest", {"seconds": seconds}) for n in range(30)]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [120.0])
def test_a_launch_that_is_to_end_begins_nothing_and_hears_of_what_runs(run: Run) -> None:
    listener = Asked(stop=True)
    run(_rests(1.5), listener)
    begun = [task for word, task in listener.told if word == "began"]
    assert 1 <= len(begun) < 30
    assert sorted(begun) == sorted(task for word, task in listener.told if word == "ended")
    assert len(listener.told) == 2 * len(begun)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1e6])
def test_a_launch_in_a_hurry_leaves_at_once(run: Run) -> None:
    listener = Asked(hurry=True)
    run(_rests(1e5), listener)
    assert listener.overdue < 60  # a task that is waited for takes 1e5; an idle machine, 1
    assert {word for word, _ in listener.told} == {"began"}
    free: list[TaskResult] = []
    run([Task("next", "cluster_tasks:rest", {"seconds": 0})], ResultCallback(free.append))
    assert free == [TaskResult("next", {})]


# --- the limits themselves


def test_work_in_the_driver_is_broken_off() -> None:
    with pytest.raises(TimeLimitError, match="ran longer than the limit"), raise_after(0.05):
        time.sleep(10)
    with raise_after(60):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)  # nothing will ring


def test_a_group_member_leaves_what_hangs_behind() -> None:
    with pytest.raises(TimeLimitError, match="raise the limit or check the trial"):
        call_within(0.05, threading.Event().wait)
    assert call_within(60, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        call_within(60, lambda: 1 // 0)


KEPT = """
import time
from study.executors.timeouts import end_process_after
with end_process_after(3):
    pass
time.sleep(3.5)
"""


def test_a_limit_that_is_kept_ends_nothing() -> None:
    subprocess.run([sys.executable, "-c", KEPT], check=True)


# --- what is still to run


def _tries(listener: Asked, *names: str, retries: int = 1) -> RetryQueue:
    tasks = [Task(name, "nowhere:nothing", {}) for name in names]
    return RetryQueue(tasks, listener, retries=retries, limit=None)


def _killed(name: str) -> TaskResult:
    return TaskResult.lost(name, FailureKind.PROCESS_LOST)


def test_a_machine_that_goes_costs_no_try() -> None:
    listener = Asked()
    tries = _tries(listener, "a")
    for _ in range(MOST_PREEMPTIONS):
        assert tries.next() is not None
        tries.add_loss(TaskResult.lost("a", FailureKind.PREEMPTED))
    assert tries.next() is not None
    tries.add_loss(_killed("a"))
    assert tries.next() is not None  # so it is not over
    tries.add_loss(_killed("a"))
    assert tries.finished
    assert listener.told[-1] == ("failed", "a")
    assert [word for word, _ in listener.told].count("died") == MOST_PREEMPTIONS + 1


def test_an_end_at_the_limit_whose_beginning_was_heard_late_is_too_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    listener, limit = Asked(), 2 * TOLERANCE
    tasks = [Task(name, "nowhere:nothing", {}) for name in ("soon", "late")]
    tries = RetryQueue(tasks, listener, retries=1, limit=limit)
    for name in ("soon", "late"):
        assert tries.next() is not None
        tries.mark_started(name)
    tries.add_loss(_killed("soon"))
    monkeypatch.setattr(time, "monotonic", lambda: now + limit - 0.8 * TOLERANCE)
    tries.add_loss(_killed("late"))
    assert listener.told[2:] == [("died", "soon"), ("failed", "late")]
    again = tries.next()
    assert again is not None
    assert again.id == "soon"


def test_what_was_lost_comes_next_and_what_never_ran_is_not_told() -> None:
    listener = Asked()
    tries = _tries(listener, "a", "b")
    assert [tries.next(), tries.next(), tries.next()][2] is None
    tries.put_back("b")
    tries.add_loss(_killed("a"))
    again = [tries.next(), tries.next()]
    assert [task.id for task in again if task] == ["a", "b"]
    assert listener.told == [("began", "a"), ("died", "a")]


# --- causes


def test_a_lack_of_memory_is_told_from_other_errors() -> None:
    def raised(fail: Callable[[], object]) -> Exception:
        with pytest.raises((MemoryError, ValueError)) as found:
            fail()
        return found.value

    short = r"out of memory \(.*\); lower 'batch_size' in the training, or give the trial a larger"
    for error in (raised(lambda: bytearray(1 << 60)), OutOfMemoryError("CUDA out of memory")):
        assert re.match(short, format_cause(error))
        assert classify_failure(error) is FailureKind.OUT_OF_MEMORY
    other = raised(lambda: int("x"))
    assert format_cause(other).startswith("ValueError: invalid literal")
    assert classify_failure(other) is FailureKind.TASK_ERROR


def test_a_gpu_without_memory_is_named() -> None:
    with pytest.raises(OutOfMemoryError, match="CUDA out of memory"), ProcessGroup().named_errors():
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("kind", FailureKind)
def test_a_failure_crosses_a_process_border_as_text(kind: FailureKind) -> None:
    outcome = TaskResult("t", None, "why", kind, "Traceback: here")
    again = TaskResult.from_json(outcome.to_json())
    assert again == outcome
    assert again.kind is kind
    assert again.traceback == outcome.traceback
