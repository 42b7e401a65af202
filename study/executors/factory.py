"""Where the work of a run is done."""

from __future__ import annotations

import os
from collections.abc import Callable

from study.config.study import RunConfig
from study.executors.base import Executor, LazyExecutor, LocalExecutor
from study.executors.environment import keep_local


def build_executor(
    run: RunConfig, *, ray: bool, check: Callable[[], None] = lambda: None
) -> Executor:
    """Return where the work of a run is done: a cluster that starts when it is needed, or here.

    Parameters
    ----------
    run : RunConfig
    ray : bool
        On a cluster.
    check : function
        Called while machines of a cluster are waited for; what it raises ends the wait.
    """
    limit = None if run.time_limit is None else 60 * run.time_limit
    return LazyExecutor(lambda: _ray(run, limit, check)) if ray else LocalExecutor(limit)


def _ray(run: RunConfig, limit: float | None, check: Callable[[], None]) -> Executor:
    if not (run.address or os.environ.get("RAY_ADDRESS")):
        keep_local()
    from study.executors.ray import RayExecutor

    return RayExecutor(
        run.address,
        cpus_per_task=run.cpus_per_trial,
        retries=run.retries,
        time_limit=limit,
        wait=60 * run.wait,
        check=check,
    )
