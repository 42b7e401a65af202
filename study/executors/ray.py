"""Executor on a Ray cluster: short tasks as Ray tasks, encoder jobs and trials through Ray Tune.

A task with a worker group runs through Ray Train inside its Tune trial. Metrics and checkpoints of
Ray Train are not used: the training loop does early stopping and has its own checkpoints, which
also work without Ray, and `ray.train.report` raises in the local mode of one worker.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.executors.environment import set_environment, shorten_error

set_environment()  # Ray reads these variables on import

import ray  # noqa: E402 (after the environment is set)
from ray import train, tune  # noqa: E402
from ray.autoscaler.sdk import request_resources  # noqa: E402
from ray.tune.callback import Callback  # noqa: E402
from ray.tune.experiment import Trial  # noqa: E402
from ray.tune.schedulers import FIFOScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from study.errors import ClusterError, InputError, StorageError, StudyError  # noqa: E402
from study.executors.base import Task, TaskCallback, TaskResult, WorkerGroup  # noqa: E402
from study.executors.capacity import (  # noqa: E402
    Machine,
    count_slots,
    resources_per_process,
    wait_for_capacity,
)
from study.executors.failures import FailureKind, loss_message  # noqa: E402
from study.executors.preemption import (  # noqa: E402
    PREEMPTION_CAUSE,
    PreemptedError,
    preemption_noticed,
)
from study.executors.retries import DriverState, RetryQueue  # noqa: E402
from study.executors.timeouts import end_process_after  # noqa: E402
from study.executors.worker_group import (  # noqa: E402
    TaskError,
    attempt_serialized_task,
    combine_failures,
    run_worker,
    serialize_task,
    stream_task,
)
from study.network import check_reachable  # noqa: E402
from study.storage.storage import Storage  # noqa: E402

_log = logging.getLogger(__name__)

POLL = 0.25
"""Seconds between two checks whether the stage must end, while nothing else happens."""
NODE_CHECKS = 4
"""Checks whether the machine of a lost process has left the cluster."""
DRIVER_NODE_POLL = 2.0
"""Seconds between two checks whether the raylet of the driver's machine is alive."""
ACTOR_TIMEOUT = 5.0
"""Seconds to wait for the answer of an actor that is dead or dying."""
MAX_WAITS = 30
"""Minutes that a worker group waits for its machines (Ray Train retries once a minute)."""


class RayExecutor:
    """Runs tasks on a Ray cluster, by default a local one that it starts itself.

    A task whose process or machine is lost is retried. A task that fails by itself or takes too
    long is not.

    Parameters
    ----------
    address : str, optional
        A running cluster (``host:port``; ``auto`` finds it). Default: the one that ``RAY_ADDRESS``
        names, otherwise a local cluster, which `close` shuts down.
    cpus_per_task : float
        CPUs that each process of a task reserves.
    retries : int
        Retries of a task whose process died.
    time_limit : float, optional
        Seconds a task may take. Default: no limit.
    wait : float
        Seconds to wait for machines that the cluster starts on request.
    check : function
        Called while waiting for machines; an exception it raises ends the wait.

    Raises
    ------
    InputError
        No cluster answers at the address, or it is too small for one task.
    ClusterError
        A Ray node did not start within Ray's own time limit.
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
        _log.info("joined Ray: %d machines, %g CPUs", len(_list_machines()), _count_cpus())
        try:
            self.require([WorkerGroup()])
        except (StudyError, KeyboardInterrupt):  # raised while waiting for machines
            self.close()
            raise

    def require(self, groups: Collection[WorkerGroup]) -> None:
        """Check that every worker group fits on the cluster, waiting for machines to start.

        Raises
        ------
        InputError
            A group would wait forever.
        """
        list_machines, wait = self._check_and_list_machines, self.wait
        wait_for_capacity(groups, self.cpus_per_task, list_machines, _request_resources, wait)

    def _check_and_list_machines(self) -> list[Machine]:
        self.check()
        return _list_machines()

    def slots(self, group: WorkerGroup) -> int:
        """Return how many tasks with such a worker group can run at the same time now."""
        return max(1, count_slots(_list_machines(), group, self.cpus_per_task) // group.workers)

    def map(self, tasks: Sequence[Task], callback: TaskCallback) -> None:
        """Run tasks as Ray tasks, submitting at most twice as many as the cluster has CPUs."""
        queue, driver_node = self._build_queue(tasks, callback), _DriverNode()
        as_remote = ray.remote(num_cpus=self.cpus_per_task, max_retries=0, num_returns="streaming")
        remote = as_remote(stream_task)
        submitted: dict[str, Any] = {}  # task id -> generator of the task's stream
        while not queue.finished and not queue.hurried:
            while len(submitted) < max(2, 2 * int(_count_cpus())) and (task := queue.next()):
                submitted[task.id] = remote.remote(serialize_task(task), self.time_limit)
            driver_node.check()
            if queue.stopping:
                for task_id in queue.not_started:
                    ray.cancel(submitted.pop(task_id), force=True)
                    queue.put_back(task_id)
            ready, _ = ray.wait(list(submitted.values()), timeout=POLL) if submitted else ([], [])
            for task_id in [key for key, stream in submitted.items() if stream in ready]:
                if _read_stream(queue, task_id, submitted[task_id]):
                    del submitted[task_id]
        for stream in submitted.values():
            ray.cancel(stream, force=True)
        queue.close()

    def grid(self, tasks: Sequence[Task], callback: TaskCallback, *, folder: str) -> None:
        """Run tasks as trials of Ray Tune, with reused actors.

        Tasks with the same worker group run together, and one kind of group after the other:
        groups of different sizes would starve each other.
        """
        by_group: dict[WorkerGroup | None, list[Task]] = {}
        for task in tasks:
            by_group.setdefault(task.worker_group, []).append(task)
        scratch = folder if "://" in folder else str(Path(folder).resolve())
        try:
            for group, members in by_group.items():
                queue = self._build_queue(members, callback)
                _log.info("%d tasks for %s", len(members), group or "one process each")
                while not queue.finished and not queue.hurried:
                    self._run_tuner(group, queue, scratch)
                queue.close()
        finally:
            with suppress(StorageError):
                Storage(folder).clear()

    def _build_queue(self, tasks: Sequence[Task], callback: TaskCallback) -> RetryQueue:
        return RetryQueue(tasks, callback, retries=self.retries, limit=self.time_limit)

    def _run_tuner(self, group: WorkerGroup | None, queue: RetryQueue, folder: str) -> None:
        """Run tasks until all have ended, or until Tune stops; raise if it cannot be restarted."""
        callback = _QueueCallback(queue)
        try:
            self._build_tuner(group, callback, queue, folder).fit()
        except ClusterError:
            raise
        except (tune.TuneError, RuntimeError) as error:
            if not queue.hurried and not callback.recover(error):
                raise

    def _build_tuner(
        self, group: WorkerGroup | None, callback: _QueueCallback, queue: RetryQueue, folder: str
    ) -> tune.Tuner:
        """Return a tuner for tasks with the same worker group."""
        resources, most_trials = self._trial_resources(group or WorkerGroup())
        common = {
            "crew": asdict(group) if group else None,
            "cpus": self.cpus_per_task,
            "limit": self.time_limit,
            "folder": folder,
        }
        return tune.Tuner(
            tune.with_resources(_TaskTrainable, resources),
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                num_samples=-1,
                search_alg=_QueueSearcher(queue, common, most_trials),
                scheduler=_QueueScheduler(queue),
            ),
            run_config=tune.RunConfig(
                name=f"grid-{uuid.uuid4().hex[:8]}",
                storage_path=folder,
                verbose=0,
                callbacks=[callback],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )

    def _trial_resources(self, group: WorkerGroup) -> tuple[dict[str, float], int | None]:
        """Return what a Tune trial itself reserves, and how many trials may run at once.

        With one worker the trial does the work. With several it only waits for its workers, whose
        resources Ray Train reserves. It then reserves no CPU, so that two workers of one CPU fit
        on two CPUs, and one byte of memory, since Tune needs some resource. The number of such
        trials must therefore be limited.
        """
        if group.workers == 1:
            return {"CPU": self.cpus_per_task, "GPU": group.gpus}, None
        groups = count_slots(_list_machines(), group, self.cpus_per_task) // group.workers
        return {"CPU": 0, "memory": 1}, max(1, groups)

    def close(self) -> None:
        """Leave the cluster; a local one is shut down."""
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
    except ray.exceptions.AuthenticationError as error:  # no token; a wrong one raises OSError
        raise InputError(
            f"there is no token for the Ray cluster at '{address}' ({shorten_error(str(error))}); "
            "copy the token of its head (~/.ray/auth_token) to this machine, or name its file with "
            "RAY_AUTH_TOKEN_PATH"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster answers at '{address}' ({shorten_error(str(error))}); start one with "
            "'ray start --head', copy the token of its head (~/.ray/auth_token) to this machine "
            "if it has another one, or leave the address out for a local cluster"
        ) from error
    except Exception as error:
        # Ray raises a bare Exception if a node does not start in time. Instances of a subclass
        # are other errors and are raised unchanged.
        if type(error) is not Exception:
            raise
        where = "on this machine" if address == "local" else f"at '{address}'"
        raise ClusterError(
            f"Ray did not come up {where} ({shorten_error(str(error))}); the machine may be too "
            "busy or short of memory: run the same command again when it has less to do, or leave "
            f"Ray out with --no-ray; see Ray's logs in {_find_log_folder()}"
        ) from error
    for name in ("ray.tune", "ray.air", "ray.train"):  # we report each failure ourselves, once
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _find_log_folder() -> Path:
    """Return the folder of Ray's logs on this machine, in the temporary folder that Ray uses."""
    folder = os.environ.get("RAY_TMPDIR") or "/tmp"  # noqa: S108 (Ray's default)
    if "RAY_TMPDIR" not in os.environ and sys.platform.startswith("linux"):
        folder = os.environ.get("TMPDIR") or folder
    return Path(folder, "ray", "session_latest", "logs")


def _count_cpus() -> float:
    resources: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return float(resources.get("CPU", 0))


def _list_nodes() -> list[dict[str, Any]]:
    """Return the live machines, as Ray describes them."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own
    return [node for node in nodes if node["Alive"]]


def _list_machines() -> list[Machine]:
    return [node["Resources"] for node in _list_nodes()]


def _list_node_ids() -> set[str]:
    return {str(node["NodeID"]) for node in _list_nodes()}


class _DriverNode:
    """The driver's machine in the cluster; if its raylet dies, no result can arrive any more."""

    def __init__(self) -> None:
        self._id, self._checked = ray.get_runtime_context().get_node_id(), time.monotonic()
        self.live_nodes = _list_node_ids()

    def check(self) -> None:
        """Raise ClusterError if Ray counts the driver's machine as dead."""
        if time.monotonic() - self._checked < DRIVER_NODE_POLL:
            return
        self._checked = time.monotonic()
        self.live_nodes = _list_node_ids()
        if self._id not in self.live_nodes:
            raise ClusterError(
                "the Ray node of this launch has died (its raylet was killed or ran out of "
                "memory); finished results are kept: run the same command again to continue"
            )


def _request_resources(bundles: Sequence[Mapping[str, float]]) -> None:
    request_resources(bundles=[dict(bundle) for bundle in bundles])


def _read_stream(
    queue: RetryQueue,
    task_id: str,
    stream: Any,  # noqa: ANN401 (Ray's generator)
) -> bool:
    """Read the next item of a task's stream; return whether it was the last."""
    try:
        result: TaskResult | None = ray.get(next(stream))
    except ray.exceptions.RayError as error:
        queue.add_result(_to_result(task_id, error))
    else:
        if result is None:
            queue.mark_started(task_id)
            return False
        queue.add_result(result)
    return True


def _to_result(task_id: str, error: Exception, *, node_left: bool = False) -> TaskResult:
    """Convert the error that Ray raised instead of a task's result.

    Parameters
    ----------
    task_id : str
    error : Exception
    node_left : bool
        Whether the machine of the task has left the cluster, which Ray's errors of actors do not
        tell.
    """
    error = getattr(error, "health_check_failure", error)  # Ray Train's wrapper of a lost worker
    match error:
        case TaskError():
            return error.result
        case ray.exceptions.RayTaskError(cause=PreemptedError()):
            return TaskResult.lost(task_id, FailureKind.PREEMPTED)
        case ray.exceptions.OutOfMemoryError():
            return TaskResult.lost(task_id, FailureKind.NODE_OUT_OF_MEMORY)
        case ray.exceptions.NodeDiedError() | ray.exceptions.LocalRayletDiedError():
            return TaskResult.lost(task_id, FailureKind.NODE_LOST)
        case ray.exceptions.RayActorError(preempted=True):
            cause = loss_message(FailureKind.NODE_LOST)
            return TaskResult.lost(task_id, FailureKind.PREEMPTED, cause)
        case ray.exceptions.RayTaskError() | ray.exceptions.RayActorError(actor_init_failed=True):
            return _to_failure(task_id, error)
    kind = FailureKind.NODE_LOST if node_left else FailureKind.PROCESS_LOST
    return TaskResult.lost(task_id, kind)


def _to_failure(task_id: str, error: Exception) -> TaskResult:
    """Return the result of a task that failed with an error of Ray's, whose text can fill pages."""
    text = str(error)
    return TaskResult(task_id, None, shorten_error(text), FailureKind.TASK_ERROR, text)


class _TaskTrainable(tune.Trainable):
    """Runs one task per Tune trial; the actor is reused, so no state is kept between tasks."""

    def setup(self, config: dict[str, Any]) -> None:
        self._task = config["task"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._task = new_config["task"]
        return True

    def step(self) -> dict[str, Any]:
        """Run the task.

        A preempted task raises, which ends the actor: a reused actor would start the next task on
        the machine that is taken away.
        """
        if preemption_noticed():
            raise PreemptedError(PREEMPTION_CAUSE)
        task = self._task
        has_workers = task["crew"] and task["crew"]["workers"] > 1
        # The workers of a group enforce the limit themselves.
        with end_process_after(None if has_workers else task["limit"]):
            result = _run_with_train(task) if task["crew"] else attempt_serialized_task(task)
        if not has_workers and result.kind is FailureKind.PREEMPTED:
            raise PreemptedError(PREEMPTION_CAUSE)
        return {"done": True, "end": result.to_json()}

    def node(self) -> str:
        """Return Ray's id of this process's machine."""
        return str(ray.get_runtime_context().get_node_id())

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: results are in the ledger."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Do nothing."""


def _run_with_train(task: Mapping[str, Any]) -> TaskResult:
    """Run a task through Ray Train: in this process if it has one worker, else in a worker group.

    Measured on two cores: the local mode of one worker costs 0.01 CPU-seconds a task, and once per
    actor 1 CPU-second for importing torch, which an encoder needs anyway. A group of two costs 14,
    since every worker and three actors of Ray Train are new processes. Tasks without an encoder
    therefore run without Ray Train.
    """
    # imports torch, which actors of head trials do not need before their first task
    from ray.train.torch import TorchTrainer

    group = WorkerGroup(**task["crew"])
    nodes = _list_node_ids() if group.workers > 1 else set()
    trainer = TorchTrainer(
        run_worker,  # type: ignore[arg-type]  # takes any mapping, so also a dictionary
        train_loop_config=dict(task),
        scaling_config=_build_scaling_config(group, task["cpus"]),
        run_config=_build_run_config(task),
    )
    try:
        if group.workers == 1:
            result = trainer.fit()
        else:  # in the main thread, Ray Train would replace the signal handlers of the reused actor
            with ThreadPoolExecutor(1) as thread:
                result = thread.submit(trainer.fit).result()
    except train.WorkerGroupError as error:
        node_left = bool(nodes - _list_node_ids())
        failures = error.worker_failures.items()
        return combine_failures(
            {rank: _to_result(task["id"], fault, node_left=node_left) for rank, fault in failures}
        )
    except TaskError as error:
        return error.result
    except train.ControllerError as error:
        return _to_failure(task["id"], error.controller_failure)
    except (train.TrainingFailedError, ray.exceptions.RayError) as error:
        return _to_result(task["id"], error, node_left=bool(nodes - _list_node_ids()))
    return TaskResult(task["id"], result.return_value)  # type: ignore[attr-defined]  # Ray names its old result


def _build_scaling_config(group: WorkerGroup, cpus: float) -> train.ScalingConfig:
    if group.workers == 1:
        return train.ScalingConfig(num_workers=0)
    return train.ScalingConfig(
        num_workers=group.workers,
        use_gpu=group.gpus > 0,
        resources_per_worker=resources_per_process(group, cpus),
    )


def _build_run_config(task: Mapping[str, Any]) -> train.RunConfig:
    """Return a config with a unique name: Ray Train would resume an earlier run of the same name.

    Ray Train does not retry a group that lost a worker. Its task is retried like every other, so
    that all losses of a task are counted together and reported.
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


class _QueueSearcher(DriverState, Searcher):
    """Passes tasks from the queue to Tune one by one, lost ones again, until the stage ends.

    A fixed grid of trials does not suffice: Tune retries a lost trial only if it was running, not
    if its actor died between two trials.
    """

    def __init__(
        self, queue: RetryQueue, common: Mapping[str, Any], most_trials: int | None
    ) -> None:
        super().__init__()
        self._queue, self._common, self._most_trials = queue, common, most_trials

    def suggest(self, trial_id: str) -> dict[str, Any] | None:  # noqa: ARG002 (Ray's signature)
        if self._queue.finished:
            return Searcher.FINISHED  # type: ignore[return-value]  # as Ray documents it
        if self._most_trials is not None and len(self._queue.dispatched) >= self._most_trials:
            return None
        task = self._queue.next()
        return None if task is None else {"task": {**serialize_task(task), **self._common}}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: `_QueueCallback` receives results."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: the ledger has all results."""


class _QueueScheduler(DriverState, FIFOScheduler):
    """Runs trials in order; when the stage ends, pending trials are stopped."""

    def __init__(self, queue: RetryQueue) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's own
        self._queue = queue

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:  # noqa: ANN401 (Ray's)
        if not self._queue.stopping:
            return super().choose_trial_to_run(tune_controller)
        for trial in list(tune_controller.get_live_trials()):
            if trial.status == Trial.PENDING:
                tune_controller.stop_trial(trial)
        return None


class _QueueCallback(DriverState, Callback):
    """Reports starts, results and losses of Tune trials to the queue."""

    def __init__(self, queue: RetryQueue) -> None:
        self._queue, self._driver_node = queue, _DriverNode()
        self._actors: dict[str, Any] = {}
        self._nodes: dict[str, Any] = {}  # task id -> reference to the node id of its actor

    def on_step_begin(self, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        """Abort if the stage must end at once; Tune calls this ten times a second."""
        self._driver_node.check()
        if self._queue.hurried:
            for actor in self._actors.values():
                ray.kill(actor)
            raise tune.TuneError("aborted")

    def on_trial_start(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        task_id = trial.config["task"]["id"]
        actor: Any = trial.temporary_state.ray_actor
        self._actors[task_id], self._nodes[task_id] = actor, actor.node.remote()
        self._queue.mark_started(task_id)

    def on_trial_complete(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        task_id = trial.config["task"]["id"]
        self._remove(task_id)
        text = trial.last_result.get("end")
        if text is None:  # it never ran
            self._queue.put_back(task_id)
        else:
            self._queue.add_result(TaskResult.from_json(text))

    def on_trial_error(self, *, trial: Trial, **_: object) -> None:  # type: ignore[override]  # Tune passes names
        task_id = trial.config["task"]["id"]
        if trial.pickled_error_file is not None:
            error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        else:  # Tune stores no error of a type that it does not know
            error = _find_actor_errors({task_id: self._actors.get(task_id)})[task_id]
        result = _to_result(task_id, error)
        if result.kind is FailureKind.PROCESS_LOST and self._has_node_left(task_id):
            result = TaskResult.lost(task_id, FailureKind.NODE_LOST)
        self._remove(task_id)
        self._queue.add_result(result)

    def _remove(self, task_id: str) -> Any:  # noqa: ANN401 (Ray's actor)
        """Forget a task and return its actor, if it had one."""
        self._nodes.pop(task_id, None)
        return self._actors.pop(task_id, None)

    def _has_node_left(self, task_id: str) -> bool:
        """Return whether the machine of a task has left the cluster.

        A machine may end its processes a moment before Ray counts it as gone, so this checks
        several times. If the task was lost before its machine was known, any machine that has
        just left counts.
        """
        nodes, node = self._driver_node.live_nodes, self._nodes.get(task_id)
        if node is not None and ray.wait([node], timeout=0)[0]:
            with suppress(ray.exceptions.RayError):
                nodes = {ray.get(node)}
        for _ in range(NODE_CHECKS):
            if nodes - _list_node_ids():
                return True
            time.sleep(POLL)
        return False

    def recover(self, error: BaseException) -> bool:
        """Return tasks to the queue after Tune aborted, and whether it can be started again.

        Tune does not know the error of an actor that Ray ended to free memory, and aborts all
        trials. After any other error this does nothing and returns False.
        """
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ray.exceptions.OutOfMemoryError):
            cause = cause.__cause__
        if cause is None:
            return False
        actors = {task_id: self._remove(task_id) for task_id in list(self._queue.dispatched)}
        for task_id, actor_error in _find_actor_errors(actors).items():
            if actors[task_id] is None:
                self._queue.put_back(task_id)
            elif isinstance(actor_error, ray.exceptions.OutOfMemoryError):
                self._queue.add_result(_to_result(task_id, actor_error))
            else:
                self._queue.add_result(TaskResult.lost(task_id, FailureKind.BROKEN_OFF))
        return True


def _find_actor_errors(actors: Mapping[str, Any]) -> dict[str, Exception]:
    """Return the errors that Ray raises for calls to dead actors, by task.

    For an actor that is alive or never existed this is a `RayActorError` without a reason.
    """
    calls = {task_id: actor.node.remote() for task_id, actor in actors.items() if actor}
    answered = (
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=ACTOR_TIMEOUT)[0]
        if calls
        else []
    )
    errors: dict[str, Exception] = {task_id: ray.exceptions.RayActorError() for task_id in actors}
    for task_id, call in calls.items():
        if call in answered:
            try:
                ray.get(call)
            except ray.exceptions.RayError as error:
                errors[task_id] = error
    return errors
