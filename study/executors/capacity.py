"""Whether what a study reserves fits on the machines of a cluster, and how often at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from study.errors import InputError
from study.executors.base import WorkerGroup

Machine = Mapping[str, float]
"""Resources of one machine, as Ray names them: ``CPU``, ``GPU``."""


_WAIT = "; if it starts machines by itself, set 'run.wait' to the minutes they may take"

_POLL = 0.5
"""Seconds between two looks for a machine that was asked for."""


class CapacityError(InputError):
    """The machines of a cluster have no room; others may have, once they are up."""


def count_slots(machines: Sequence[Machine], crew: WorkerGroup, cpus: float) -> int:
    """Return how many processes of a crew, of so many CPUs each, fit at the same time."""
    return sum(_places(machine, crew, cpus) for machine in machines)


def _asked(crew: WorkerGroup, cpus: float) -> dict[str, float]:
    return {"CPU": cpus, **({"GPU": crew.gpus} if crew.gpus else {})}


def _places(machine: Machine, crew: WorkerGroup, cpus: float) -> int:
    whole = 1e-9  # ten processes of 0.1 CPUs fit on one
    room = int(machine.get("CPU", 0.0) / cpus + whole)
    if not crew.gpus:
        return room
    gpus = machine.get("GPU", 0.0)  # a process with a part of a GPU has it of one GPU
    each = gpus / crew.gpus if crew.gpus >= 1 else int(gpus) * int(1 / crew.gpus + whole)
    return min(room, int(each + whole))


def check_capacity(machines: Sequence[Machine], crew: WorkerGroup, cpus: float) -> None:
    """Check that a crew fits on the machines of a cluster, each process on one of them.

    Raises
    ------
    CapacityError
        It would wait for ever on these machines; the message names the resource that lacks.
    InputError
        No machines would do.
    """
    if crew.workers > 1 and 0 < crew.gpus < 1:
        raise InputError(
            f"{crew.workers} workers with {crew.gpus:g} GPUs each would share a GPU, which NCCL "
            "refuses; set 'run.gpus_per_worker' to 1, or 'workers' in the 'training' to 1"
        )
    _check_cpus(machines, cpus)
    if crew.gpus:
        _check_gpus(machines, crew, cpus)
    room = count_slots(machines, crew, cpus)
    if room < crew.workers:
        each = " and ".join(f"{n:g} {name}s" for name, n in _asked(crew, cpus).items())
        raise CapacityError(
            f"an encoder's training asks for {crew.workers} workers of {each} each and the "
            f"cluster has room for {room}; lower 'workers' in its 'training' or "
            f"'run.cpus_per_trial', or use a larger cluster{_WAIT}"
        )


def _check_cpus(machines: Sequence[Machine], cpus: float) -> None:
    largest = max((machine.get("CPU", 0.0) for machine in machines), default=0.0)
    if largest < cpus:
        raise CapacityError(
            f"a trial asks for {cpus:g} CPUs and the largest machine of the cluster has "
            f"{largest:g}; lower 'run.cpus_per_trial'{_WAIT}"
        )


def _check_gpus(machines: Sequence[Machine], crew: WorkerGroup, cpus: float) -> None:
    able = [machine for machine in machines if machine.get("GPU", 0.0) >= crew.gpus]
    if not able:
        largest = max((machine.get("GPU", 0.0) for machine in machines), default=0.0)
        raise CapacityError(
            f"an encoder's training asks for {crew.gpus:g} GPUs a worker and no machine of the "
            f"cluster has them (the largest has {largest:g}); set 'run.gpus_per_worker' to 0 or "
            f"use a cluster with GPUs{_WAIT}"
        )
    largest = max(machine.get("CPU", 0.0) for machine in able)
    if largest < cpus:
        raise CapacityError(
            f"a worker with {crew.gpus:g} GPUs asks for {cpus:g} CPUs and the largest machine "
            f"with GPUs has {largest:g}; lower 'run.cpus_per_trial'{_WAIT}"
        )


def wait_for_capacity(
    crews: Collection[WorkerGroup],
    cpus: float,
    machines: Callable[[], Sequence[Machine]],
    ask: Callable[[Sequence[Mapping[str, float]]], None],
    seconds: float,
) -> None:
    """Check that every crew fits, waiting for machines that a cluster starts when it is asked.

    Parameters
    ----------
    crews, cpus
        What is to fit.
    machines : function
        Gives the machines that are up; what it raises ends the wait.
    ask : function
        Asks for machines on which all these fit; empty: keep none for us.
    seconds : float
        The longest wait, for all crews together; 0: nothing is asked for.

    Raises
    ------
    CapacityError
        One would wait for ever.
    """
    deadline = time.monotonic() + seconds
    try:
        for crew in sorted(crews, key=lambda crew: (crew.workers, crew.gpus)):
            while not _fits(machines(), crew, cpus, last=time.monotonic() >= deadline):
                ask(_bundles(crew, cpus))  # again each time: others may have asked for theirs
                time.sleep(_POLL)
    finally:
        if seconds:  # else what was asked for is kept for ever
            ask([])


def _fits(machines: Sequence[Machine], crew: WorkerGroup, cpus: float, *, last: bool) -> bool:
    """Return whether a crew fits; the last time it is asked, it has to."""
    try:
        check_capacity(machines, crew, cpus)
    except CapacityError:
        if last:
            raise
        return False
    return True


def _bundles(crew: WorkerGroup, cpus: float) -> list[dict[str, float]]:
    """Return what each process of a crew reserves."""
    return [_asked(crew, cpus) for _ in range(crew.workers)]
