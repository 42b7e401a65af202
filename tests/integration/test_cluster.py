from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from study.artifacts.study_data import StudyData
from study.config.study import StudySpec
from study.errors import ClusterError, InputError
from study.executors.base import (
    Executor,
    LocalExecutor,
    ResultCallback,
    Task,
    TaskCallback,
    TaskResult,
    WorkerGroup,
)
from study.executors.failures import FailureKind
from study.executors.logs import VARIABLE
from study.executors.ray import RayExecutor, ray
from study.progress import ProgressCallback
from study.results.ledger import Ledger
from study.results.study_results import Study
from study.runner.launcher import launch
from study.runner.prepare import prepare, write_study_folder
from study.storage.storage import Storage

CAUSES = {
    "refuse": "ValueError: cannot do",
    "refuse_unpicklably": "LocalError: made inside a function",
    "not_plain": "TypeError: Object of type object is not JSON serializable",
    "leave": "its process died",
    "killed": "its process died",
    "exit_politely": "its process died",
}
GOOD = 5


def _tasks() -> list[Task]:
    """Bad tasks first, so that the good ones run in what these leave behind."""
    names = [*CAUSES, *["echo"] * GOOD]
    return [Task(f"{name} {n}", f"cluster_tasks:{name}", {"n": n}) for n, name in enumerate(names)]


@pytest.fixture(scope="module", params=["map", "grid"])
def outcomes(
    request: pytest.FixtureRequest, cluster: RayExecutor, tmp_path_factory: pytest.TempPathFactory
) -> list[TaskResult]:
    found: list[TaskResult] = []
    if request.param == "map":
        cluster.map(_tasks(), ResultCallback(found.append))
    else:
        folder = tmp_path_factory.mktemp("grid") / "scratch"
        cluster.grid(_tasks(), ResultCallback(found.append), folder=str(folder))
        assert not folder.exists()
    return found


def test_every_task_is_told_once(outcomes: list[TaskResult]) -> None:
    assert sorted(outcome.id for outcome in outcomes) == sorted(task.id for task in _tasks())


def test_others_finish_when_some_tasks_fail(outcomes: list[TaskResult]) -> None:
    values = {o.id: o.value for o in outcomes if o.finished}
    assert values == {t.id: {"n": t.payload["n"]} for t in _tasks() if "echo" in t.id}


@pytest.mark.parametrize("name", CAUSES)
def test_a_failure_names_its_cause_in_one_line(outcomes: list[TaskResult], name: str) -> None:
    cause = next(o.cause for o in outcomes if o.id.split()[0] == name)
    assert cause.startswith(CAUSES[name])
    assert len(cause.splitlines()) == 1
    assert len(cause) < 600


def test_a_failure_has_a_kind_and_unexpected_ones_a_traceback(outcomes: list[TaskResult]) -> None:
    ends = {outcome.id.split()[0]: outcome for outcome in outcomes}
    lost = {"leave", "killed", "exit_politely"}
    for name in CAUSES:
        kind = FailureKind.PROCESS_LOST if name in lost else FailureKind.TASK_ERROR
        assert ends[name].kind is kind, name
        assert bool(ends[name].traceback) is (name not in lost), name
    assert 'raise ValueError(f"cannot do' in ends["refuse"].traceback
    assert (ends["echo"].kind, ends["echo"].traceback) == (None, "")


@pytest.mark.parametrize("way", ["map", "grid"])
def test_worker_processes_log_as_the_driver_does(
    way: str, cluster: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "DEBUG")
    found: list[TaskResult] = []
    tasks = [Task("logs", "cluster_tasks:log_level", {})]
    if way == "map":
        cluster.map(tasks, ResultCallback(found.append))
    else:
        cluster.grid(tasks, ResultCallback(found.append), folder=str(tmp_path / "scratch"))
    assert [outcome.value for outcome in found] == [{"level": "DEBUG", "handlers": 1}]


def _results(
    study: Study,
    run: Callable[[Sequence[Task], TaskCallback], None],
    ledger: Path,
    *,
    backwards: bool,
) -> dict[str, tuple[bytes, bytes]]:
    """Run every fit of a study and return scores and history by trial."""
    trials = [t for t in study.plan.trials() if t.arm.technique != "independent_mean"]
    common = {"study": str(study.folder), "digest": study.key, "ledger": str(ledger), "threads": 1}
    tasks = [
        Task(
            study.data.trial_id(t),
            "study.training.tasks:pack",
            {**common, "trials": [t.to_json()]},
        )
        for t in trials
    ]
    dirt = [Task(f"dirt {n}", "cluster_tasks:soil", {"n": n}) for n in range(4)]
    mixed = [*dirt[:2], *tasks[:3], *dirt[2:], *tasks[3:]]
    failed: list[str] = []
    order = mixed[::-1] if backwards else mixed
    run(order, ResultCallback(lambda o: None if o.finished else failed.append(o.cause)))
    assert failed == []
    store = Ledger(Storage(str(ledger)))
    found = {task.id: store.get(task.id) for task in tasks}
    return {key: (r.scores.tobytes(), repr(r.history).encode()) for key, r in found.items()}


@pytest.fixture
def threads() -> Iterator[None]:
    """Give the process its threads back: a soiling task also runs here."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def featurized(
    tiny: dict[str, Any], spec_of: Callable[[dict[str, Any], Path], StudySpec], tmp_path: Path
) -> Study:
    """The tiny study without an encoder, its features made."""
    tiny["modalities"]["characters"] = {"modality": "fingerprint", "radius": 1}
    study = prepare(spec_of(tiny, tmp_path / "store"))
    write_study_folder(study)
    launch_features(study)
    return study


@pytest.mark.usefixtures("threads")
def test_trials_leak_nothing_into_each_other(
    featurized: Study, cluster: RayExecutor, tmp_path: Path
) -> None:
    """Two orders on reused actors, with soiling tasks between, equal one process bit for bit."""

    def grid(tasks: Sequence[Task], listener: TaskCallback) -> None:
        cluster.grid(tasks, listener, folder=str(tmp_path / "scratch"))

    inline = _results(featurized, LocalExecutor().map, tmp_path / "inline", backwards=False)
    forward = _results(featurized, grid, tmp_path / "forward", backwards=False)
    backward = _results(featurized, grid, tmp_path / "backward", backwards=True)
    assert forward == inline
    assert backward == inline


def launch_features(study: Study) -> None:
    """Make the features of the study's modalities."""
    from study.artifacts.study_data import build_modality

    choices = {f.key: f.config for arm in study.plan.arms for f in arm.features}
    for choice in choices.values():
        modality = build_modality(choice)
        for shard in study.data.features_store.missing(modality, study.data.dataset.smiles):
            study.data.features_store.fill(modality, shard)


def test_an_error_of_the_driver_is_not_swallowed(cluster: RayExecutor, tmp_path: Path) -> None:
    told = []

    def full(outcome: TaskResult) -> None:
        told.append(outcome)
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        cluster.grid(_tasks()[-1:], ResultCallback(full), folder=str(tmp_path / "scratch"))
    assert len(told) == 1
    assert not (tmp_path / "scratch").exists()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "nonsense"])
def test_an_address_that_answers_nothing_is_bad_input(address: str, closed_port: int) -> None:
    started = time.monotonic()
    place = address.format(port=closed_port)
    with pytest.raises(InputError, match=f"no Ray cluster answers at '{place}'.*ray start --head"):
        RayExecutor(place)
    assert time.monotonic() - started < 30


def test_a_missing_token_is_bad_input(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    def refuse(**_: object) -> None:
        raise ray.exceptions.AuthenticationError("no token was found")

    monkeypatch.setattr("study.executors.ray.check_reachable", lambda _: None)
    monkeypatch.setattr(ray, "init", refuse)
    message = r"no token for the Ray cluster at '127.*no token was found.*RAY_AUTH_TOKEN_PATH"
    with pytest.raises(InputError, match=message):
        RayExecutor(f"127.0.0.1:{closed_port}")


def test_the_message_about_a_ray_that_fails_names_its_logs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(**_: object) -> None:
        raise Exception("the node timed out")  # noqa: TRY002 (as Ray does)

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(ClusterError, match=f"logs in {tmp_path}/ray/session_latest/logs"):
        RayExecutor("local")


def test_a_trial_larger_than_the_cluster_is_bad_input(cluster: RayExecutor) -> None:
    message = r"asks for 10000 CPUs and the largest .* has \d+; lower 'run.cpus_per_trial'"
    large = copy(cluster)
    large.cpus_per_task = 10_000
    with pytest.raises(InputError, match=message):
        large.require([WorkerGroup()])


def test_the_executors_agree_on_a_launch(study: Study, cluster: RayExecutor) -> None:
    executor: Executor = cluster
    record = launch(study, executor, None, ProgressCallback())
    assert record.missing == 0
    assert not (study.folder / "scratch").exists()
    assert isinstance(record.data, StudyData)
