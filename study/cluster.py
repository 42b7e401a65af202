"""The only file that imports Ray: tasks on a cluster, the grid of a study through Ray Tune."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study.ray_environment import set_environment

set_environment()  # Ray reads it while it is being imported

import ray  # noqa: E402 (after the environment is set)
from ray import tune  # noqa: E402
from ray.tune.callback import Callback  # noqa: E402
from ray.tune.experiment import Trial  # noqa: E402

from study.errors import InputError  # noqa: E402
from study.executor import OnDone, Outcome, Task, attempt  # noqa: E402


class RayExecutor:
    """Runs tasks on a Ray cluster; without an address on a local one of its own.

    Parameters
    ----------
    address : str, optional
        A running cluster (``auto`` finds it); None starts a local one, closed by `close`.
    cpus_per_task : float
        CPUs a task reserves.
    """

    def __init__(self, address: str | None = None, *, cpus_per_task: float = 1.0) -> None:
        self.cpus_per_task = cpus_per_task
        try:
            ray.init(
                address=address,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
        except ConnectionError as error:
            raise InputError(
                f"no Ray cluster answers at '{address}' ({error}); start one with "
                "'ray start --head' or leave the address out for a local one"
            ) from error
        cpus = _cpus()
        if cpus < cpus_per_task:
            self.close()
            raise InputError(
                f"a trial asks for {cpus_per_task:g} CPUs and the cluster has {cpus:g}; "
                "lower 'run.cpus_per_trial'"
            )

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
        """Run tasks as the trials of one Ray Tune grid with reused actors."""
        space = [
            {"id": task.id, "work": task.work, "payload": json.dumps(task.payload)}
            for task in tasks
        ]
        tuner = tune.Tuner(
            tune.with_resources(_TaskTrainable, {"CPU": self.cpus_per_task}),
            param_space={"task": tune.grid_search(space)},
            tune_config=tune.TuneConfig(reuse_actors=True, num_samples=1),
            run_config=tune.RunConfig(
                name="grid",
                storage_path=str(Path(folder).resolve()),
                verbose=0,
                callbacks=[_Report(on_done)],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(Path(folder) / "grid", ignore_errors=True)

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        ray.shutdown()


def _cpus() -> float:
    resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return float(resources.get("CPU", 0))


def _attempt(task_id: str, work: str, payload: str) -> Outcome:
    return attempt(Task(task_id, work, json.loads(payload)))


def _collect(reference: ray.ObjectRef[Outcome], task_id: str) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        return Outcome(task_id, cause=f"{type(error).__name__}: {error}")
    return outcome


class _TaskTrainable(tune.Trainable):
    """One Tune trial is one task; the actor is reused, so nothing is kept between tasks."""

    def setup(self, config: dict[str, Any]) -> None:
        self._task = config["task"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._task = new_config["task"]
        return True

    def step(self) -> dict[str, Any]:
        outcome = _attempt(self._task["id"], self._task["work"], self._task["payload"])
        value = json.dumps({"value": outcome.value, "cause": outcome.cause})
        return {"done": True, "outcome": value}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save: results lie in the ledger."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing to load."""


class _Report(Callback):
    """Tells the driver of each ended Tune trial."""

    def __init__(self, on_done: OnDone) -> None:
        self._on_done = on_done

    def __getstate__(self) -> dict[str, object]:
        """Leave the driver's function out when Tune pickles its state: we never restore it."""
        return {}

    def on_trial_complete(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        told: Mapping[str, Any] = json.loads(trial.last_result["outcome"])
        self._on_done(Outcome(trial.config["task"]["id"], told["value"], told["cause"]))

    def on_trial_error(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        error = trial.get_pickled_error() or trial.get_error()
        self._on_done(Outcome(trial.config["task"]["id"], cause=str(error).strip()))
