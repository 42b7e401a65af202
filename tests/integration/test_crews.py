"""Groups of workers of Ray Train inside Ray Tune: what they return, lose and leave behind."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import ray
import torch
from ray.util import placement_group_table

from study.config.loading import check_study
from study.errors import InputError, PeerLostError
from study.executors.base import (
    LazyExecutor,
    LocalExecutor,
    ResultCallback,
    Task,
    TaskCallback,
    TaskResult,
    WorkerGroup,
)
from study.executors.capacity import check_capacity, count_slots
from study.executors.failures import FailureKind
from study.executors.ray import RayExecutor
from study.executors.timeouts import time_limit_message
from study.executors.worker_group import TaskError, combine_failures, run_worker
from study.progress import ProgressCallback
from study.runner.launcher import launch
from study.runner.prepare import prepare, write_study_folder

PAIR = WorkerGroup(workers=2)


def _task(name: str, crew: WorkerGroup | None, **payload: object) -> Task:
    return Task(name, "cluster_tasks:add_ranks", payload, crew)


def _resources() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's own
    return found


def _free() -> dict[str, float]:
    found: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]  # Ray's own
    return found


@pytest.fixture(scope="module")
def pair_cluster(cluster: RayExecutor) -> RayExecutor:
    """The shared cluster, with processes of half of its CPUs: exactly one pair fits at once."""
    half = copy(cluster)
    half.cpus_per_task = _resources()["CPU"] / 2
    return half


def _processes_of_trainings() -> list[str]:
    """Titles of living processes below this one that belong to a group of workers."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                titles[int(entry.name)] = (entry / "cmdline").read_text().split("\0")[0]
            except OSError:
                continue  # ended meanwhile
            parents[int(entry.name)] = int(state[1])
    names = ("TrainController", "RayTrainWorker", "PlacementGroupCleaner", "SynchronizationActor")

    def mine(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == os.getpid():
                return True
        return False

    return [t for pid, t in titles.items() if any(name in t for name in names) and mine(pid)]


def _nothing_is_left() -> bool:
    """Wait until no placement group, reserved CPU or process of a training is left."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        states = {group["state"] for group in placement_group_table().values()}
        free = _free().get("CPU") == _resources()["CPU"]
        if states <= {"REMOVED"} and free and not _processes_of_trainings():
            return True
        time.sleep(0.2)
    return False


def test_a_training_that_fails_by_itself_is_not_tried_again(
    pair_cluster: RayExecutor, tmp_path: Path
) -> None:
    """Its cause is our line; the file counts how often the worker came that far."""
    found: list[TaskResult] = []
    task = _task("refuses", PAIR, mark=str(tmp_path / "mark"))
    pair_cluster.grid([task], ResultCallback(found.append), folder=str(tmp_path / "scratch"))
    cause = "ValueError: worker 1 cannot do it"
    assert found == [TaskResult("refuses", cause=cause, kind=FailureKind.TASK_ERROR)]
    assert 'raise ValueError("worker 1 cannot do it")' in found[0].traceback
    assert (tmp_path / "mark").read_text() == "x\n"
    assert not (tmp_path / "scratch").exists()
    assert _nothing_is_left()


def test_one_worker_runs_in_its_trial(cluster: RayExecutor, tmp_path: Path) -> None:
    found: list[TaskResult] = []
    bad = Task("bad", "cluster_tasks:refuse", {"n": 7}, WorkerGroup())
    tasks = [bad, _task("good", WorkerGroup()), _task("no crew", None)]
    cluster.grid(tasks, ResultCallback(found.append), folder=str(tmp_path / "scratch"))
    alone = {"sum": 1.0, "rank": 0, "size": 1, "folder": str(Path.cwd())}
    assert sorted(found, key=lambda outcome: outcome.id) == [
        TaskResult("bad", cause="ValueError: cannot do 7", kind=FailureKind.TASK_ERROR),
        TaskResult("good", alone),
        TaskResult("no crew", alone),
    ]


ENCODER = {
    "name": "pairs",
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 80, "labels": 6, "skew": 2.0}],
    },
    "split": {"folds": 2, "min_positives": 2},
    "grid": [{"features": [["graph"]]}],
    "modalities": {
        "graph": {"training": {"workers": 2, "epochs": 9, "patience": 1, "epoch_steps": 5}}
    },
    "training": {"epochs": 2, "hidden": [8]},
}


class _Dangerous:
    """An executor in which the first encoder job loses its second worker once."""

    def __init__(self, executor: RayExecutor, common: dict[str, str]) -> None:
        self._executor = executor
        self._common = common
        self.outcomes: list[TaskResult] = []
        self.deaths: list[str] = []
        self.require, self.map, self.close = executor.require, executor.map, executor.close
        self.slots = executor.slots

    def grid(self, tasks: Sequence[Task], listener: TaskCallback, *, folder: str) -> None:
        watched = _Watched(listener, self)

        first, *others = tasks
        if first.worker_group == PAIR:
            payload = {**first.payload, **self._common}
            first = replace(first, work="cluster_tasks:encode_killed_once", payload=payload)
        self._executor.grid([first, *others], watched, folder=folder)


@dataclass(frozen=True)
class _Watched:
    """A listener whose words are kept on the way to another one."""

    to: TaskCallback
    keeper: _Dangerous
    stopping: bool = False
    hurried: bool = False

    def began(self, task_id: str) -> None:
        self.to.began(task_id)

    def died(self, task_id: str, cause: str) -> None:
        self.keeper.deaths.append(cause)
        self.to.died(task_id, cause)

    def ended(self, outcome: TaskResult) -> None:
        self.keeper.outcomes.append(outcome)
        self.to.ended(outcome)


@pytest.mark.slow
def test_a_study_of_pairs_goes_on_after_a_lost_worker_and_stops_early(
    pair_cluster: RayExecutor, tmp_path: Path
) -> None:
    """The second training needs the CPUs of the first: a group that is left would block it."""
    study = prepare(check_study({**ENCODER, "run": {"storage": str(tmp_path / "store")}}, "pairs"))
    write_study_folder(study)
    checkpoints = Path(study.data.checkpoints.path(""))
    executor = _Dangerous(
        pair_cluster, {"checkpoints": str(checkpoints), "mark": str(tmp_path / "mark")}
    )
    record = launch(study, executor, None, ProgressCallback())
    assert (record.missing, record.failures) == (0, ())
    assert (tmp_path / "mark").read_text().split("\n")[:2] == ["begins", "goes on"]
    value = {"size": 2, "backend": "gloo", "folder": str(Path.cwd())}
    assert value in [outcome.value for outcome in executor.outcomes]
    assert executor.deaths == ["worker 1: its process died (killed, crashed or out of memory)"]
    assert not any(checkpoints.glob("*.checkpoint"))
    assert _nothing_is_left()


@pytest.mark.slow
def test_a_pair_that_hangs_is_ended_and_not_tried_again(
    pair_cluster: RayExecutor, tmp_path: Path
) -> None:
    limited = copy(pair_cluster)
    limited.time_limit = 20.0  # both workers have begun by then
    found: list[TaskResult] = []
    payload = {"seconds": 1000, "mark": str(tmp_path / "mark")}
    task = Task("hangs", "cluster_tasks:rest", payload, PAIR)
    limited.grid([task], ResultCallback(found.append), folder=str(tmp_path / "scratch"))
    assert found == [
        TaskResult("hangs", cause=time_limit_message(20.0), kind=FailureKind.TIMED_OUT)
    ]
    assert (tmp_path / "mark").read_text() == "x\n" * 2  # one a worker
    assert _nothing_is_left()


# --- what does not fit


def test_what_does_not_fit_is_refused_before_anything_runs(cluster: RayExecutor) -> None:
    with pytest.raises(InputError, match=r"asks for 5000 workers of 1 CPUs each.*has room for \d"):
        cluster.require([WorkerGroup(), WorkerGroup(workers=5000)])
    if not _resources().get("GPU"):
        with pytest.raises(InputError, match=r"asks for 1 GPUs.*no machine.*run.gpus_per_worker"):
            cluster.require([WorkerGroup(gpus=1)])


MACHINES = ({"CPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 1.0})


@pytest.mark.parametrize(
    ("crew", "cpus", "room"),
    [
        (WorkerGroup(2), 1, 20),
        (WorkerGroup(2), 3, 5),  # 1 + 2 + 2: no process is split over machines
        (WorkerGroup(2), 0.1, 200),
        (WorkerGroup(3, 1), 2, 3),
        (WorkerGroup(1, 0.5), 1, 6),
        (WorkerGroup(3, 1), 8, 2),
    ],
)
def test_places_count_whole_processes_on_machines(
    crew: WorkerGroup, cpus: float, room: int
) -> None:
    assert count_slots(MACHINES, crew, cpus) == room
    if room < crew.workers:
        with pytest.raises(InputError, match=f"has room for {room}"):
            check_capacity(MACHINES, crew, cpus)
    else:
        check_capacity(MACHINES, crew, cpus)


@pytest.mark.parametrize(
    ("crew", "cpus", "message"),
    [
        (WorkerGroup(), 9, "asks for 9 CPUs and the largest machine of the cluster has 8"),
        (WorkerGroup(2, 0.5), 1, "2 workers with 0.5 GPUs each would share a GPU"),
        (
            WorkerGroup(4, 1),
            1,
            "4 workers of 1 CPUs and 1 GPUs each and the cluster has room for 3",
        ),
    ],
)
def test_a_crew_that_does_not_fit_is_named(crew: WorkerGroup, cpus: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_capacity(MACHINES, crew, cpus)


def test_one_process_is_no_crew_of_two() -> None:
    with pytest.raises(InputError, match="asks for 2 workers, which needs Ray: leave --no-ray out"):
        LocalExecutor().require([WorkerGroup(), PAIR])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_bad_input_before_anything_runs(
    run_study: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    file, store = tmp_path / "pairs.yaml", tmp_path / "store"
    file.write_text(json.dumps(ENCODER), encoding="utf-8")
    asked = ["run.gpus_per_worker=0.5", "modalities.graph.training.workers=1"]
    sets = [part for place in asked for part in ("--set", place)]
    done = run_study("launch", str(file), "--storage", str(store), "--no-ray", "--no-mlflow", *sets)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the training needs a GPU and torch finds none")
    assert not (store / "cache" / "features").exists()


def test_an_executor_is_not_started_to_check_nothing() -> None:
    def start() -> LocalExecutor:
        raise AssertionError("started")

    LazyExecutor(start).require([])


# --- what one process of a crew tells


def _work(**payload: object) -> dict[str, object]:
    crew = {"workers": 2, "gpus": 0}
    text = json.dumps(payload)
    task = {"id": "t", "work": "crew_faults:fail", "payload": text, "crew": crew, "limit": None}
    return run_worker(task)


@pytest.fixture
def crew_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("crew_faults")

    def fail(payload: dict[str, str]) -> dict[str, str]:
        raise (PeerLostError if payload.get("peer") else RuntimeError)(payload["text"])

    module.fail = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "crew_faults", module)


@pytest.mark.usefixtures("crew_faults")
def test_a_lost_peer_is_told_from_an_own_fault() -> None:
    with pytest.raises(TaskError, match=r"RuntimeError: out of range") as own:
        _work(text="out of range")
    assert own.value.result.kind is FailureKind.TASK_ERROR
    with pytest.raises(TaskError, match="closed") as peer:
        _work(text="closed", peer=True)
    assert peer.value.result.kind is FailureKind.PEER_LOST
    again = pickle.loads(pickle.dumps(peer.value))  # noqa: S301 (our own bytes)
    assert again.result == peer.value.result


def _exchange(file: str, rank: str, what: str) -> subprocess.Popen[str]:
    """Start one worker of a group of two."""
    script = Path(__file__).parents[1] / "helpers" / "peer.py"
    command = [sys.executable, str(script), file, rank, what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("fault", "told"),
    [("dies", "PeerLostError"), ("dies in a step", "PeerLostError"), ("fails", "RuntimeError")],
)
def test_an_error_of_the_exchange_is_named(fault: str, told: str, tmp_path: Path) -> None:
    """gloo and a matrix product raise the same type; only the death of a process is a lost peer."""
    pair = [_exchange(str(tmp_path / "group"), rank, fault) for rank in "01"]
    said = [process.communicate(timeout=240)[0] for process in pair]
    assert said == [told, "" if "dies" in fault else told]


def test_the_first_to_fail_is_not_the_one_that_lost_it() -> None:
    own = TaskResult("t", cause="mine", kind=FailureKind.TASK_ERROR)
    echo = TaskResult.lost("t", FailureKind.PEER_LOST, "closed")
    dead = TaskResult.lost("t", FailureKind.PROCESS_LOST, "killed")
    leaving = TaskResult.lost("t", FailureKind.PREEMPTED)
    assert combine_failures({0: own}) is own
    assert combine_failures({0: echo, 1: dead}) == replace(dead, cause="worker 1: killed")
    assert combine_failures({0: echo}) == replace(
        echo, cause="worker 0 lost another worker: closed"
    )
    assert combine_failures({0: dead, 1: leaving}) is leaving
    mixed = combine_failures({0: own, 1: echo})
    assert mixed.cause == "worker 0: mine"
    assert mixed.kind is not None
    assert mixed.kind.is_loss
