"""The only file that imports Ray: tasks on a cluster, the grid of a study through Ray Tune.

A task with a crew runs through Ray Train inside its Tune trial. The metrics and checkpoints of
Ray Train are not used: the loop stops early by itself and keeps its own checkpoints under the
identity of what is trained, which also hold without Ray, and `ray.train.report` raises in the
local mode of one worker.
"""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.executors.environment import set_environment, shorten_error

set_environment()  # Ray reads it while it is being imported

import ray  # noqa: E402 (after the environment is set)
from ray import train, tune  # noqa: E402
from ray.autoscaler.sdk import request_resources  # noqa: E402
from ray.tune.callback import Callback  # noqa: E402
from ray.tune.experiment import Trial  # noqa: E402
from ray.tune.schedulers import FIFOScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from study.errors import ClusterError, InputError, StorageError, StudyError  # noqa: E402
from study.executors.base import Task, TaskCallback, TaskResult, WorkerGroup  # noqa: E402
from study.executors.capacity import Machine, count_slots, wait_for_capacity  # noqa: E402
from study.executors.failures import FailureKind, loss_message  # noqa: E402
from study.executors.preemption import LEAVING, PreemptedError, preemption_noticed  # noqa: E402
from study.executors.retries import DriverState, RetryQueue  # noqa: E402
from study.executors.timeouts import end_process_after  # noqa: E402
from study.executors.worker_group import (  # noqa: E402
    TaskError,
    attempt_task_plain,
    find_group_end,
    stream,
    to_plain,
    work,
)
from study.network import check_reachable  # noqa: E402
from study.storage.storage import Storage  # noqa: E402

_log = logging.getLogger(__name__)

LOOK = 0.25
"""Seconds between two looks at whether the stage has to end, while nothing else happens."""
LOOKS = 4
"""Looks at whether the machine of a lost process has left."""
HOME_LOOK = 2.0
"""Seconds between two looks at whether the raylet beside the driver lives."""
ANSWER = 5.0
"""Seconds for an answer about an actor that is dead or about to be."""
MAX_WAITS = 30
"""Minutes that a group of workers waits for its machines (Ray Train asks anew each minute)."""


class RayExecutor:
    """Runs tasks on a Ray cluster; without an address on a local one of its own.

    A task whose process or machine is lost is tried again; one that fails by itself is not, nor
    one that takes too long.

    Parameters
    ----------
    address : str, optional
        A running cluster (``host:port``; ``auto`` finds it). None: the one ``RAY_ADDRESS`` names,
        otherwise a local one of its own, ended by `close`.
    cpus_per_task : float
        CPUs a task reserves.
    retries : int
        Times a task whose process died is tried again.
    time_limit : float, optional
        Seconds a task may take.
    wait : float
        Seconds to wait for machines that the cluster starts when it is asked for them.
    check : function
        Called while waiting for them; what it raises ends the wait.

    Raises
    ------
    InputError
        No cluster answers there, or it is smaller than one task.
    ClusterError
        Ray did not come up in the time that it gives itself.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        cpus_per_task: float = 1.0,
        retries: int = 2,
        time_limit: float | None = None,
        wait: float = 0.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.cpus_per_task, self.wait, self.check = cpus_per_task, wait, check
        self.retries, self.time_limit = retries, time_limit
        _connect(address or os.environ.get("RAY_ADDRESS") or "local")
        _log.info("joined Ray: %d machines, %g CPUs", len(_machines()), _cpus())
        try:
            self.require([WorkerGroup()])
        except (StudyError, KeyboardInterrupt):  # while it waits
            self.close()
            raise

    def require(self, crews: Collection[WorkerGroup]) -> None:
        """Check that every crew fits on the machines of the cluster, waiting for some to start.

        Raises
        ------
        InputError
            One would wait for ever.
        """
        wait_for_capacity(crews, self.cpus_per_task, self._arrived, _ask, self.wait)

    def _arrived(self) -> list[Machine]:
        self.check()
        return _machines()

    def slots(self, crew: WorkerGroup) -> int:
        """Return how many tasks with this crew the machines of now can run at once."""
        return max(1, count_slots(_machines(), crew, self.cpus_per_task) // crew.workers)

    def map(self, tasks: Sequence[Task], listener: TaskCallback) -> None:
        """Run tasks as Ray tasks, at most twice the cluster's CPUs in flight."""
        tries, home = self._tries(tasks, listener), _Home()
        share = ray.remote(num_cpus=self.cpus_per_task, max_retries=0, num_returns="streaming")
        remote = share(stream)
        flying: dict[str, Any] = {}
        while not tries.over and not tries.hurried:
            while len(flying) < max(2, 2 * int(_cpus())) and (task := tries.next()):
                flying[task.id] = remote.remote(to_plain(task), self.time_limit)
            home.check()
            if tries.stopping:
                for task_id in tries.unbegun:
                    ray.cancel(flying.pop(task_id), force=True)
                    tries.withdraw(task_id)
            ready, _ = ray.wait(list(flying.values()), timeout=LOOK) if flying else ([], [])
            for task_id in [key for key, words in flying.items() if words in ready]:
                if _hear(tries, task_id, flying[task_id]):
                    del flying[task_id]
        for words in flying.values():
            ray.cancel(words, force=True)
        tries.close()

    def grid(self, tasks: Sequence[Task], listener: TaskCallback, *, folder: str) -> None:
        """Run tasks as the trials of Ray Tune for each crew, with reused actors.

        One crew after the other: crews of different sizes would starve each other.
        """
        by_crew: dict[WorkerGroup | None, list[Task]] = {}
        for task in tasks:
            by_crew.setdefault(task.crew, []).append(task)
        place = folder if "://" in folder else str(Path(folder).resolve())
        try:
            for crew, same in by_crew.items():
                tries = self._tries(same, listener)
                _log.info("%d tasks for %s", len(same), crew or "one process each")
                while not tries.over and not tries.hurried:
                    self._fit(crew, tries, place)
                tries.close()
        finally:
            with suppress(StorageError):
                Storage(folder).clear()

    def _tries(self, tasks: Sequence[Task], listener: TaskCallback) -> RetryQueue:
        return RetryQueue(tasks, listener, retries=self.retries, limit=self.time_limit)

    def _fit(self, crew: WorkerGroup | None, tries: RetryQueue, folder: str) -> None:
        """Run tasks until all have ended, or until Tune gives up."""
        report = _Report(tries)
        try:
            self._tuner(crew, report, tries, folder).fit()
        except ClusterError:
            raise
        except (tune.TuneError, RuntimeError) as error:
            if not tries.hurried and not report.survives(error):
                raise

    def _tuner(
        self, crew: WorkerGroup | None, report: _Report, tries: RetryQueue, folder: str
    ) -> tune.Tuner:
        """Return the grid of tasks that share a crew."""
        resources, at_once = self._share(crew or WorkerGroup())
        common = {
            "crew": asdict(crew) if crew else None,
            "cpus": self.cpus_per_task,
            "limit": self.time_limit,
            "folder": folder,
        }
        return tune.Tuner(
            tune.with_resources(_TaskTrainable, resources),
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                num_samples=-1,
                search_alg=_Queue(tries, common, at_once),
                scheduler=_Order(tries),
            ),
            run_config=tune.RunConfig(
                name=f"grid-{uuid.uuid4().hex[:8]}",
                storage_path=folder,
                verbose=0,
                callbacks=[report],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )

    def _share(self, crew: WorkerGroup) -> tuple[dict[str, float], int | None]:
        """Return what a Tune trial reserves for itself, and how many may run at once.

        One worker is the trial itself. The trial of a group only waits for its workers, whose
        resources Ray Train reserves: it takes a byte of memory, since Tune wants something, and
        no CPU, so that two workers of one CPU fit on two CPUs. So the number of trials has to be
        bounded here.
        """
        if crew.workers == 1:
            return {"CPU": self.cpus_per_task, "GPU": crew.gpus}, None
        groups = count_slots(_machines(), crew, self.cpus_per_task) // crew.workers
        return {"CPU": 0, "memory": 1}, max(1, groups)

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        ray.shutdown()


def _connect(address: str) -> None:
    """Join the cluster at an address, or start one if it is ``local``."""
    try:
        check_reachable(address)
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster answers at '{address}' ({shorten_error(str(error))}); start one with "
            "'ray start --head' or leave the address out for a local one"
        ) from error
    except Exception as error:
        # Ray has no type of its own for a node that does not come up in time: it raises a bare
        # Exception. One of a subclass is a defect and stays what it is.
        if type(error) is not Exception:
            raise
        where = "on this machine" if address == "local" else f"at '{address}'"
        raise ClusterError(
            f"Ray did not come up {where} ({shorten_error(str(error))}); the machine may be too "
            "busy or short of memory: run the same command again when it has less to do, or leave "
            "Ray out with --no-ray; Ray's logs in /tmp/ray/session_latest/logs tell more"
        ) from error
    for name in ("ray.tune", "ray.air", "ray.train"):  # failures are told by us, each once
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _cpus() -> float:
    resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return float(resources.get("CPU", 0))


def _nodes() -> list[dict[str, Any]]:
    """Return the machines that live, as Ray describes them."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own
    return [node for node in nodes if node["Alive"]]


def _machines() -> list[Machine]:
    return [node["Resources"] for node in _nodes()]


def _living_nodes() -> set[str]:
    return {str(node["NodeID"]) for node in _nodes()}


class _Home:
    """The machine of the driver: without its raylet nothing that is waited for will come."""

    def __init__(self) -> None:
        self._id, self._looked = ray.get_runtime_context().get_node_id(), time.monotonic()
        self.seen = _living_nodes()

    def check(self) -> None:
        """Raise ClusterError if Ray counts the machine as dead."""
        if time.monotonic() - self._looked < HOME_LOOK:
            return
        self._looked = time.monotonic()
        self.seen = _living_nodes()
        if self._id not in self.seen:
            raise ClusterError(
                "the Ray node of this launch has died (its raylet was killed or is out of memory); "
                "what has finished is kept: launch again to go on"
            )


def _ask(bundles: Sequence[Mapping[str, float]]) -> None:
    request_resources(bundles=[dict(bundle) for bundle in bundles])


def _hear(tries: RetryQueue, task_id: str, words: Any) -> bool:  # noqa: ANN401 (Ray's generator)
    """Take the next word of a task; return whether it was the last."""
    try:
        outcome: TaskResult | None = ray.get(next(words))
    except ray.exceptions.RayError as error:
        tries.take(_end(task_id, error))
    else:
        if outcome is None:
            tries.began(task_id)
            return False
        tries.take(outcome)
    return True


def _end(task_id: str, error: Exception, *, gone: bool = False) -> TaskResult:
    """Return how a task ended, given the error of Ray that stands in place of its outcome.

    Parameters
    ----------
    task_id : str
    error : Exception
    gone : bool
        Whether the machine of the task has left the cluster: of an actor Ray does not say it.
    """
    error = getattr(error, "health_check_failure", error)  # in which Ray Train wraps a lost worker
    match error:
        case TaskError():
            return error.outcome
        case ray.exceptions.RayTaskError(cause=PreemptedError()):
            return TaskResult.lost(task_id, FailureKind.PREEMPTED)
        case ray.exceptions.OutOfMemoryError():
            return TaskResult.lost(task_id, FailureKind.NODE_OUT_OF_MEMORY)
        case ray.exceptions.NodeDiedError() | ray.exceptions.LocalRayletDiedError():
            return TaskResult.lost(task_id, FailureKind.NODE_LOST)
        case ray.exceptions.RayActorError(preempted=True):
            node = loss_message(FailureKind.NODE_LOST)
            return TaskResult.lost(task_id, FailureKind.PREEMPTED, node)
        case ray.exceptions.RayTaskError() | ray.exceptions.RayActorError(actor_init_failed=True):
            return _failed(task_id, error)
    return TaskResult.lost(task_id, FailureKind.NODE_LOST if gone else FailureKind.PROCESS_LOST)


def _failed(task_id: str, error: Exception) -> TaskResult:
    """Return the outcome of a task that failed of an error of Ray's, whose text can fill pages."""
    text = str(error)
    return TaskResult(task_id, None, shorten_error(text), FailureKind.TASK_ERROR, text)


class _TaskTrainable(tune.Trainable):
    """One Tune trial is one task; the actor is reused, so nothing is kept between tasks."""

    def setup(self, config: dict[str, Any]) -> None:
        self._task = config["task"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._task = new_config["task"]
        return True

    def step(self) -> dict[str, Any]:
        """Run the task; an error here ends the actor, so none begins on a machine that goes."""
        if preemption_noticed():
            raise PreemptedError(LEAVING)
        task = self._task
        group = task["crew"] and task["crew"]["workers"] > 1
        with end_process_after(None if group else task["limit"]):  # a group's members see to it
            end = _train(task) if task["crew"] else attempt_task_plain(task)
        if not group and end.kind is FailureKind.PREEMPTED:
            raise PreemptedError(LEAVING)
        return {"done": True, "end": end.to_json()}

    def node(self) -> str:
        """Return the machine of this process, as Ray numbers it."""
        return str(ray.get_runtime_context().get_node_id())

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save: results lie in the ledger."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing to load."""


def _train(task: Mapping[str, Any]) -> TaskResult:
    """Run a task through Ray Train: here if it has one worker, else in a group of processes.

    Measured on two cores: the local mode costs 0.01 CPU-seconds a task (and an actor 1 CPU-second
    once, for importing torch, which an encoder needs anyway), a group of two 14, since every
    worker and three actors of Ray Train are new processes. Tasks without an encoder run without.
    """
    # imports torch, which head trials start without
    from ray.train.torch import TorchTrainer

    crew = WorkerGroup(**task["crew"])
    nodes = _living_nodes() if crew.workers > 1 else set()
    trainer = TorchTrainer(
        work,  # type: ignore[arg-type]  # a mapping will do: it is a dictionary
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
    except train.WorkerGroupError as error:
        gone = bool(nodes - _living_nodes())
        failures = error.worker_failures.items()
        return find_group_end(
            {rank: _end(task["id"], fault, gone=gone) for rank, fault in failures}
        )
    except TaskError as error:
        return error.outcome
    except train.ControllerError as error:
        return _failed(task["id"], error.controller_failure)
    except (train.TrainingFailedError, ray.exceptions.RayError) as error:
        return _end(task["id"], error, gone=bool(nodes - _living_nodes()))
    return TaskResult(task["id"], result.return_value)  # type: ignore[attr-defined]  # Ray names its old result


def _scaling(crew: WorkerGroup, cpus: float) -> train.ScalingConfig:
    if crew.workers == 1:
        return train.ScalingConfig(num_workers=0)
    resources = {"CPU": cpus, **({"GPU": crew.gpus} if crew.gpus else {})}
    return train.ScalingConfig(
        num_workers=crew.workers, use_gpu=crew.gpus > 0, resources_per_worker=resources
    )


def _train_config(task: Mapping[str, Any]) -> train.RunConfig:
    """Return a run of its own: under an old name Ray Train would go on where that run was.

    A group that lost a worker ends, and its task is tried again as every other: then the lost
    ones of one task are counted together, and told.
    """
    name = re.sub(r"\W+", "-", task["id"])[:64]
    return train.RunConfig(
        name=f"{name}-{uuid.uuid4().hex[:8]}",
        storage_path=task["folder"],
        failure_config=train.FailureConfig(
            max_failures=0,
            controller_failure_limit=MAX_WAITS,  # type: ignore[call-arg]  # Ray types its old class
        ),
    )


class _Queue(DriverState, Searcher):
    """Gives Tune one task after the other, a lost one again, and none when the stage ends.

    A grid that is fixed at its start would not do: Tune tries a lost trial again only while it
    runs, not when its actor dies between two trials.
    """

    def __init__(self, tries: RetryQueue, common: Mapping[str, Any], at_once: int | None) -> None:
        super().__init__()
        self._tries, self._common, self._at_once = tries, common, at_once

    def suggest(self, trial_id: str) -> dict[str, Any] | None:  # noqa: ARG002 (Ray's signature)
        if self._tries.over:
            return Searcher.FINISHED  # type: ignore[return-value]  # as Ray documents it
        if self._at_once is not None and len(self._tries.out) >= self._at_once:
            return None
        task = self._tries.next()
        return None if task is None else {"task": {**to_plain(task), **self._common}}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to learn."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save: the ledger knows what has ended."""


class _Order(DriverState, FIFOScheduler):
    """First come, first served; when the stage ends, what has not begun is taken back."""

    def __init__(self, tries: RetryQueue) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's own
        self._tries = tries

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:  # noqa: ANN401 (Ray's)
        if not self._tries.stopping:
            return super().choose_trial_to_run(tune_controller)
        for trial in list(tune_controller.get_live_trials()):
            if trial.status == Trial.PENDING:
                tune_controller.stop_trial(trial)
        return None


class _Report(DriverState, Callback):
    """Tells the driver what becomes of the Tune trials."""

    def __init__(self, tries: RetryQueue) -> None:
        self._tries, self._home = tries, _Home()
        self._actors: dict[str, Any] = {}
        self._where: dict[str, Any] = {}

    def on_step_begin(self, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        """Break off if there is no time left: Tune looks in here ten times a second."""
        self._home.check()
        if self._tries.hurried:
            for actor in self._actors.values():
                ray.kill(actor)
            raise tune.TuneError("broken off")

    def on_trial_start(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        task_id = trial.config["task"]["id"]
        actor: Any = trial.temporary_state.ray_actor
        self._actors[task_id], self._where[task_id] = actor, actor.node.remote()
        self._tries.began(task_id)

    def on_trial_complete(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        task_id = trial.config["task"]["id"]
        self._forget(task_id)
        end = trial.last_result.get("end")
        if end is None:  # it never ran
            self._tries.withdraw(task_id)
        else:
            self._tries.take(TaskResult.from_json(end))

    def on_trial_error(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        task_id = trial.config["task"]["id"]
        if trial.pickled_error_file is not None:
            error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        else:  # Tune keeps no error that it does not know
            error = _last_words({task_id: self._actors.get(task_id)})[task_id]
        end = _end(task_id, error)
        if end.kind is FailureKind.PROCESS_LOST and self._is_gone(task_id):
            end = TaskResult.lost(task_id, FailureKind.NODE_LOST)
        self._forget(task_id)
        self._tries.take(end)

    def _forget(self, task_id: str) -> Any:  # noqa: ANN401 (Ray's actor)
        self._where.pop(task_id, None)
        return self._actors.pop(task_id, None)

    def _is_gone(self, task_id: str) -> bool:
        """Return whether the machine of a task has left the cluster.

        A machine that goes may end its processes a moment before Ray counts it as gone. Of a task
        that was lost before it could say where it ran, any machine that has just left is taken.
        """
        before, where = self._home.seen, self._where.get(task_id)
        if where is not None and ray.wait([where], timeout=0)[0]:
            with suppress(ray.exceptions.RayError):
                before = {ray.get(where)}
        for _ in range(LOOKS):
            if before - _living_nodes():
                return True
            time.sleep(LOOK)
        return False

    def survives(self, error: BaseException) -> bool:
        """Return whether the grid can begin anew where Tune broke it off.

        Tune does not know the error of an actor that Ray ended to free memory, and ends all.
        """
        known: BaseException | None = error
        while known is not None and not isinstance(known, ray.exceptions.OutOfMemoryError):
            known = known.__cause__
        if known is None:
            return False
        actors = {task_id: self._forget(task_id) for task_id in list(self._tries.out)}
        for task_id, last in _last_words(actors).items():
            if actors[task_id] is None:
                self._tries.withdraw(task_id)
            elif isinstance(last, ray.exceptions.OutOfMemoryError):
                self._tries.take(_end(task_id, last))
            else:
                self._tries.take(TaskResult.lost(task_id, FailureKind.BROKEN_OFF))
        return True


def _last_words(actors: Mapping[str, Any]) -> dict[str, Exception]:
    """Return the errors with which Ray answers for actors that have died, by task.

    One that lives, or that never was, has a `RayActorError` that tells nothing.
    """
    asked = {task_id: actor.node.remote() for task_id, actor in actors.items() if actor}
    said = (
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER)[0] if asked else []
    )
    errors: dict[str, Exception] = {task_id: ray.exceptions.RayActorError() for task_id in actors}
    for task_id, answer in asked.items():
        if answer in said:
            try:
                ray.get(answer)
            except ray.exceptions.RayError as error:
                errors[task_id] = error
    return errors
