"""The only file that imports Ray: tasks on a cluster, the grid of a study through Ray Tune.

A task with a crew runs through Ray Train inside its Tune trial. The metrics and checkpoints of
Ray Train are not used: the loop stops early by itself and keeps its own checkpoints under the
identity of what is trained, which also hold without Ray, and `ray.train.report` raises in the
local mode of one worker.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.ray_environment import set_environment, shorten

set_environment()  # Ray reads it while it is being imported

import ray  # noqa: E402 (after the environment is set)
from ray import tune  # noqa: E402
from ray.train.v2.api import config as train  # noqa: E402 (`ray.train`, with its types)
from ray.train.v2.api.callback import UserCallback  # noqa: E402
from ray.train.v2.api.exceptions import (  # noqa: E402
    ControllerError,
    TrainingFailedError,
    WorkerGroupError,
)
from ray.tune.callback import Callback  # noqa: E402
from ray.tune.experiment import Trial  # noqa: E402

from study.answering import knock  # noqa: E402
from study.crew_work import TaskError, first_to_fail, own_fault, work  # noqa: E402
from study.errors import InputError  # noqa: E402
from study.executor import Crew, OnDone, Outcome, Task, attempt  # noqa: E402
from study.room import Machine, check_room, places  # noqa: E402

MAX_DEATHS = 2
"""Times that a worker of a training may die before the training fails."""
MAX_WAITS = 30
"""Minutes that a group of workers waits for its machines (Ray Train asks anew each minute)."""


class RayExecutor:
    """Runs tasks on a Ray cluster; without an address on a local one of its own.

    Parameters
    ----------
    address : str, optional
        A running cluster (``host:port``; ``auto`` finds it). None: the one ``RAY_ADDRESS`` names,
        otherwise a local one of its own, ended by `close`.
    cpus_per_task : float
        CPUs a task reserves.

    Raises
    ------
    InputError
        No cluster answers there, or it is smaller than one task.
    """

    def __init__(self, address: str | None = None, *, cpus_per_task: float = 1.0) -> None:
        self.cpus_per_task = cpus_per_task
        _connect(address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            self.require([Crew()])
        except InputError:
            self.close()
            raise

    def require(self, crews: Collection[Crew]) -> None:
        """Check that every crew fits on the machines of the cluster.

        Raises
        ------
        InputError
            One would wait for ever.
        """
        for crew in sorted(crews, key=lambda crew: (crew.workers, crew.gpus)):
            check_room(_machines(), crew, self.cpus_per_task)

    def map(self, tasks: Sequence[Task], on_done: OnDone) -> None:
        """Run tasks as Ray tasks, at most twice the cluster's CPUs in flight."""
        remote = ray.remote(num_cpus=self.cpus_per_task, max_retries=2)(_attempt)
        width = max(2, 2 * int(_cpus()))
        waiting = list(reversed(tasks))
        flying: dict[ray.ObjectRef[Outcome], str] = {}
        while waiting or flying:
            while waiting and len(flying) < width:
                task = waiting.pop()
                flying[remote.remote(task.id, task.work, json.dumps(task.payload))] = task.id
            done, _ = ray.wait(list(flying))
            for reference in done:
                on_done(_collect(reference, flying.pop(reference)))

    def grid(self, tasks: Sequence[Task], on_done: OnDone, *, folder: str) -> None:
        """Run tasks as the trials of a Ray Tune grid for each crew, with reused actors.

        One crew after the other: crews of different sizes would starve each other.
        """
        by_crew: dict[Crew | None, list[Task]] = {}
        for task in tasks:
            by_crew.setdefault(task.crew, []).append(task)
        report = _Report(on_done)
        try:
            for crew, same in by_crew.items():
                self._tuner(crew, same, report, str(Path(folder).resolve())).fit()
        except tune.TuneError:
            if report.error is not None:
                raise report.error from None
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _tuner(
        self, crew: Crew | None, tasks: Sequence[Task], report: _Report, folder: str
    ) -> tune.Tuner:
        """Return the grid of tasks that share a crew."""
        common = {
            "crew": asdict(crew) if crew else None,
            "cpus": self.cpus_per_task,
            "folder": folder,
        }
        space = [
            {"id": task.id, "work": task.work, "payload": json.dumps(task.payload), **common}
            for task in tasks
        ]
        resources, at_once = self._share(crew or Crew())
        return tune.Tuner(
            tune.with_resources(_TaskTrainable, resources),
            param_space={"task": tune.grid_search(space)},
            tune_config=tune.TuneConfig(
                reuse_actors=True, num_samples=1, max_concurrent_trials=at_once
            ),
            run_config=tune.RunConfig(
                name=f"grid-{uuid.uuid4().hex[:8]}",
                storage_path=folder,
                verbose=0,
                callbacks=[report],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )

    def _share(self, crew: Crew) -> tuple[dict[str, float], int | None]:
        """Return what a Tune trial reserves for itself, and how many may run at once.

        One worker is the trial itself. The trial of a group only waits for its workers, whose
        resources Ray Train reserves: it takes a byte of memory, since Tune wants something, and
        no CPU, so that two workers of one CPU fit on two CPUs. So the number of trials has to be
        bounded here.
        """
        if crew.workers == 1:
            return {"CPU": self.cpus_per_task, "GPU": crew.gpus}, None
        groups = places(_machines(), crew, self.cpus_per_task) // crew.workers
        return {"CPU": 0, "memory": 1}, max(1, groups)

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        ray.shutdown()


def _connect(address: str) -> None:
    """Join the cluster at an address, or start one if it is ``local``."""
    try:
        knock(address)
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster answers at '{address}' ({shorten(str(error))}); start one with "
            "'ray start --head' or leave the address out for a local one"
        ) from error
    for name in ("ray.tune", "ray.air", "ray.train"):  # failures are told by us, each once
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _cpus() -> float:
    resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return float(resources.get("CPU", 0))


def _machines() -> list[Machine]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own
    return [node["Resources"] for node in nodes if node["Alive"]]


def _attempt(task_id: str, work: str, payload: str) -> Outcome:
    return attempt(Task(task_id, work, json.loads(payload)))


def _collect(reference: ray.ObjectRef[Outcome], task_id: str) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.WorkerCrashedError:
        return Outcome(task_id, cause="its process died (killed, crashed or out of memory)")
    except ray.exceptions.RayError as error:
        return Outcome(task_id, cause=shorten(str(error)))
    return outcome


class _TaskTrainable(tune.Trainable):
    """One Tune trial is one task; the actor is reused, so nothing is kept between tasks."""

    def setup(self, config: dict[str, Any]) -> None:
        self._task = config["task"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._task = new_config["task"]
        return True

    def step(self) -> dict[str, Any]:
        if self._task["crew"]:
            outcome = _train(self._task)
        else:
            outcome = _attempt(self._task["id"], self._task["work"], self._task["payload"])
        value = json.dumps({"value": outcome.value, "cause": outcome.cause})
        return {"done": True, "outcome": value}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save: results lie in the ledger."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing to load."""


def _train(task: Mapping[str, Any]) -> Outcome:
    """Run a task through Ray Train: here if it has one worker, else in a group of processes.

    Measured on two cores: the local mode costs 0.01 CPU-seconds a task (and an actor 1 CPU-second
    once, for importing torch, which an encoder needs anyway), a group of two 14, since every
    worker and three actors of Ray Train are new processes. Tasks without an encoder run without.
    """
    # imports torch, which head trials start without
    from ray.train.v2.torch.torch_trainer import TorchTrainer

    crew = Crew(**task["crew"])
    trainer = TorchTrainer(
        work,
        train_loop_config=dict(task),
        scaling_config=_scaling(crew, task["cpus"]),
        run_config=_train_config(task),
    )
    try:
        if crew.workers == 1:
            result = trainer.fit()
        else:  # in the main thread Ray Train would take over Ctrl-C of a process that is reused
            with ThreadPoolExecutor(1) as thread:
                result = thread.submit(trainer.fit).result()
    except (TaskError, TrainingFailedError, ray.exceptions.RayError) as error:
        return Outcome(task["id"], cause=_cause(error))
    return Outcome(task["id"], result.return_value)  # type: ignore[attr-defined]  # Ray names its old result


def _scaling(crew: Crew, cpus: float) -> train.ScalingConfig:
    if crew.workers == 1:
        return train.ScalingConfig(num_workers=0)
    resources = {"CPU": cpus, **({"GPU": crew.gpus} if crew.gpus else {})}
    return train.ScalingConfig(
        num_workers=crew.workers, use_gpu=crew.gpus > 0, resources_per_worker=resources
    )


def _train_config(task: Mapping[str, Any]) -> train.RunConfig:
    """Return a run of its own: under an old name Ray Train would go on where that run was."""
    name = re.sub(r"\W+", "-", task["id"])[:64]
    return train.RunConfig(
        name=f"{name}-{uuid.uuid4().hex[:8]}",
        storage_path=task["folder"],
        failure_config=train.FailureConfig(
            max_failures=MAX_DEATHS, controller_failure_limit=MAX_WAITS
        ),
        callbacks=[_Stop()],
    )


class _Stop(UserCallback):
    """Ends a training whose task failed by itself; Ray Train would try it again.

    It hears of the workers' errors before Ray Train decides; its own error ends the run.
    """

    def after_exception(
        self,
        run_context: object,  # noqa: ARG002 (Ray's signature)
        worker_exceptions: Mapping[int, Exception],
    ) -> None:
        error = own_fault(worker_exceptions)
        if error is not None:
            raise error


def _cause(error: Exception) -> str:
    """Return why a training failed, in one line."""
    if isinstance(error, ControllerError):
        error = error.controller_failure
    if isinstance(error, WorkerGroupError):
        rank, first = first_to_fail(error.worker_failures)
        return f"worker {rank}, in the last of {MAX_DEATHS + 1} tries: {shorten(str(first))}"
    return str(error) if isinstance(error, TaskError) else shorten(str(error))


class _Report(Callback):
    """Tells the driver of each ended Tune trial."""

    def __init__(self, on_done: OnDone) -> None:
        self._on_done = on_done
        self.error: Exception | None = None

    def _tell(self, outcome: Outcome) -> None:
        """Pass an outcome on.

        Tune takes a first error here for one of the trial and tells that trial again as failed:
        the second raise ends the grid.
        """
        if self.error is not None:
            raise self.error
        try:
            self._on_done(outcome)
        except Exception as error:
            self.error = error
            raise

    def __getstate__(self) -> dict[str, object]:
        """Leave the driver's function out when Tune pickles its state: we never restore it."""
        return {}

    def on_trial_complete(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        told: Mapping[str, Any] = json.loads(trial.last_result["outcome"])
        self._tell(Outcome(trial.config["task"]["id"], told["value"], told["cause"]))

    def on_trial_error(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        file = Path(trial.error_file or "")
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        self._tell(Outcome(trial.config["task"]["id"], cause=shorten(text)))
