"""The only file that imports Ray: tasks on a cluster, the grid of a study through Ray Tune."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study.ray_environment import set_environment, shorten

set_environment()  # Ray reads it while it is being imported

import ray  # noqa: E402 (after the environment is set)
from ray import tune  # noqa: E402
from ray.tune.callback import Callback  # noqa: E402
from ray.tune.experiment import Trial  # noqa: E402

from study.answering import knock  # noqa: E402
from study.errors import InputError  # noqa: E402
from study.executor import OnDone, Outcome, Task, attempt  # noqa: E402


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
            self.require(cpus_per_task)
        except InputError:
            self.close()
            raise

    def require(self, cpus: float) -> None:
        """Check that a task of so many CPUs fits on one machine of the cluster.

        Raises
        ------
        InputError
            It would wait for ever.
        """
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        largest = max((resources.get("CPU", 0.0) for resources in alive), default=0.0)
        if largest < cpus:
            raise InputError(
                f"a trial asks for {cpus:g} CPUs and the largest machine of the cluster has "
                f"{largest:g}; lower 'run.cpus_per_trial'"
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
        report = _Report(on_done)
        tuner = tune.Tuner(
            tune.with_resources(_TaskTrainable, {"CPU": self.cpus_per_task}),
            param_space={"task": tune.grid_search(space)},
            tune_config=tune.TuneConfig(reuse_actors=True, num_samples=1),
            run_config=tune.RunConfig(
                name="grid",
                storage_path=str(Path(folder).resolve()),
                verbose=0,
                callbacks=[report],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        try:
            tuner.fit()
        except tune.TuneError:
            if report.error is not None:
                raise report.error from None
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

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
