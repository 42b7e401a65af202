"""The only file that imports Ray: tasks on a cluster, the grid of a study through Ray Tune."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
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

_ANSWER_SECONDS = 5.0
_HOST_PORT = re.compile(r"(?P<host>[^/:\[\]]+|\[[^\[\]]+\]):(?P<port>\d+)")
_EXIT_DETAIL = re.compile(r"Worker exit detail: (.*?)(?: Some common causes| There are some|$)")
_LONGEST_CAUSE = 500


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
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        ray.shutdown()


def _connect(address: str) -> None:
    """Join the cluster at an address, or start one if it is ``local``."""
    try:
        _knock(address)
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster answers at '{address}' ({_last_line(str(error))}); start one with "
            "'ray start --head' or leave the address out for a local one"
        ) from error
    for name in ("ray.tune", "ray.air", "ray.train"):  # failures are told by us, each once
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _knock(address: str) -> None:
    """Try the address: Ray itself would wait for minutes, then end the process."""
    match = _HOST_PORT.fullmatch(address)
    if match is not None:
        place = (match["host"].strip("[]"), int(match["port"]))
        socket.create_connection(place, timeout=_ANSWER_SECONDS).close()


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
        return Outcome(task_id, cause=_cause(str(error)))
    return outcome


def _cause(text: str) -> str:
    """Shorten what Ray says of a lost task to the line that tells why."""
    detail = _EXIT_DETAIL.search(text)
    if detail is not None:
        return f"its process died: {detail[1][:_LONGEST_CAUSE]}"
    return _last_line(text)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_LONGEST_CAUSE] if lines else "no reason given"


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
        file = Path(trial.error_file or "")
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        self._on_done(Outcome(trial.config["task"]["id"], cause=_cause(text)))
