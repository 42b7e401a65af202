"""Capacity of a cluster: whether worker groups fit on its machines, and how many at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from study.errors import InputError
from study.executors.base import WorkerGroup

Machine = Mapping[str, float]
"""Resources of one machine, as Ray names them: ``CPU``, ``GPU``."""


_WAIT = "; if the cluster starts machines on demand, set 'run.wait' to the minutes they may take"

_POLL = 0.5
"""Seconds between two checks whether a requested machine is up."""


class CapacityError(InputError):
    """The machines that are up have no room; machines that start later may have."""


def count_slots(machines: Sequence[Machine], group: WorkerGroup, cpus: float) -> int:
    """Return how many processes of a worker group, with `cpus` CPUs each, fit at the same time."""
    return sum(_count_on_machine(machine, group, cpus) for machine in machines)


def resources_per_process(group: WorkerGroup, cpus: float) -> dict[str, float]:
    """Return what each process of a worker group reserves, as Ray names it."""
    return {"CPU": cpus, **({"GPU": group.gpus} if group.gpus else {})}


def _count_on_machine(machine: Machine, group: WorkerGroup, cpus: float) -> int:
    rounding = 1e-9  # ten processes of 0.1 CPUs fit on one CPU
    by_cpus = int(machine.get("CPU", 0.0) / cpus + rounding)
    if not group.gpus:
        return by_cpus
    gpus = machine.get("GPU", 0.0)
    # A fraction of a GPU must be on one GPU, so count per GPU.
    by_gpus = gpus / group.gpus if group.gpus >= 1 else int(gpus) * int(1 / group.gpus + rounding)
    return min(by_cpus, int(by_gpus + rounding))


def check_capacity(machines: Sequence[Machine], group: WorkerGroup, cpus: float) -> None:
    """Check that a worker group fits on the machines of a cluster, each process on one of them.

    Raises
    ------
    CapacityError
        It would wait forever on these machines; the message names the missing resource.
    InputError
        It would not fit on any machines.
    """
    if group.workers > 1 and 0 < group.gpus < 1:
        raise InputError(
            f"{group.workers} workers with {group.gpus:g} GPUs each would share a GPU, which NCCL "
            "refuses; set 'run.gpus_per_worker' to 1, or 'workers' in the 'training' to 1"
        )
    _check_cpus(machines, cpus)
    if group.gpus:
        _check_gpus(machines, group, cpus)
    slots = count_slots(machines, group, cpus)
    if slots < group.workers:
        resources = resources_per_process(group, cpus).items()
        listed = " and ".join(f"{n:g} {name}s" for name, n in resources)
        raise CapacityError(
            f"an encoder's training asks for {group.workers} workers of {listed} each and the "
            f"cluster has room for {slots}; lower 'workers' in its 'training' or "
            f"'run.cpus_per_trial', or use a larger cluster{_WAIT}"
        )


def _check_cpus(machines: Sequence[Machine], cpus: float) -> None:
    largest = max((machine.get("CPU", 0.0) for machine in machines), default=0.0)
    if largest < cpus:
        raise CapacityError(
            f"a trial asks for {cpus:g} CPUs and the largest machine of the cluster has "
            f"{largest:g}; lower 'run.cpus_per_trial'{_WAIT}"
        )


def _check_gpus(machines: Sequence[Machine], group: WorkerGroup, cpus: float) -> None:
    with_gpus = [machine for machine in machines if machine.get("GPU", 0.0) >= group.gpus]
    if not with_gpus:
        largest = max((machine.get("GPU", 0.0) for machine in machines), default=0.0)
        raise CapacityError(
            f"an encoder's training asks for {group.gpus:g} GPUs per worker and no machine of the "
            f"cluster has them (the largest has {largest:g}); set 'run.gpus_per_worker' to 0 or "
            f"use a cluster with GPUs{_WAIT}"
        )
    largest = max(machine.get("CPU", 0.0) for machine in with_gpus)
    if largest < cpus:
        raise CapacityError(
            f"a worker with {group.gpus:g} GPUs asks for {cpus:g} CPUs and the largest machine "
            f"with GPUs has {largest:g}; lower 'run.cpus_per_trial'{_WAIT}"
        )


def wait_for_capacity(
    groups: Collection[WorkerGroup],
    cpus: float,
    list_machines: Callable[[], Sequence[Machine]],
    request: Callable[[Sequence[Mapping[str, float]]], None],
    seconds: float,
) -> None:
    """Check that every worker group fits, waiting for machines that a cluster starts on request.

    Parameters
    ----------
    groups : collection of WorkerGroup
    cpus : float
        CPUs of each process.
    list_machines : function
        Returns the machines that are up; an exception it raises ends the wait.
    request : function
        Requests machines on which all these resources fit; an empty list withdraws the request.
    seconds : float
        Longest wait for all groups together; 0: no machines are requested.

    Raises
    ------
    CapacityError
        A group does not fit when the time is over.
    """
    deadline = time.monotonic() + seconds
    try:
        for group in sorted(groups, key=lambda group: (group.workers, group.gpus)):
            while not _fits(list_machines(), group, cpus, last=time.monotonic() >= deadline):
                # Repeated at every check, since another driver's request replaces this one.
                request([resources_per_process(group, cpus) for _ in range(group.workers)])
                time.sleep(_POLL)
    finally:
        if seconds:  # Ray keeps a request until it is withdrawn
            request([])


def _fits(machines: Sequence[Machine], group: WorkerGroup, cpus: float, *, last: bool) -> bool:
    """Return whether a worker group fits; the last check raises if it does not."""
    try:
        check_capacity(machines, group, cpus)
    except CapacityError:
        if last:
            raise
        return False
    return True
