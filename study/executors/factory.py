"""Build the executor of a run: on a Ray cluster, or in this process."""

from __future__ import annotations

import os
from collections.abc import Callable

from study.executors.base import Executor, LazyExecutor, LocalExecutor
from study.executors.environment import keep_local


def build_executor(
    *,
    ray: bool,
    address: str | None = None,
    cpus_per_task: float = 1.0,
    retries: int = 0,
    time_limit: float | None = None,
    wait: float = 0.0,
    check: Callable[[], None] = lambda: None,
) -> Executor:
    """Return the executor of a run; a cluster is started or joined with the first task.

    Parameters
    ----------
    ray : bool
        Run on a Ray cluster; otherwise in this process, one task after the other.
    address : str, optional
        Address of the cluster. Default: ``$RAY_ADDRESS``, or a cluster on this machine.
    cpus_per_task : float
        CPUs that each process of a task reserves.
    retries : int
        Retries of a task whose process or machine was lost.
    time_limit : float, optional
        Seconds that a task may take. Default: no limit.
    wait : float
        Seconds to wait for machines of the cluster before it is refused as too small.
    check : function
        Called while waiting for machines; an exception it raises ends the wait.
    """
    if not ray:
        return LocalExecutor(time_limit)

    def start() -> Executor:
        if not (address or os.environ.get("RAY_ADDRESS")):
            keep_local()
        from study.executors.ray import RayExecutor

        return RayExecutor(
            address,
            cpus_per_task=cpus_per_task,
            retries=retries,
            time_limit=time_limit,
            wait=wait,
            check=check,
        )

    return LazyExecutor(start)
