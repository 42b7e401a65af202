"""Whether what a study reserves fits on the machines of a cluster, and how often at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.errors import InputError
from study.executor import Crew

Machine = Mapping[str, float]
"""Resources of one machine, as Ray names them: ``CPU``, ``GPU``."""


def places(machines: Sequence[Machine], crew: Crew, cpus: float) -> int:
    """Return how many processes of a crew, of so many CPUs each, fit at the same time."""
    return sum(_places(machine, crew, cpus) for machine in machines)


def _places(machine: Machine, crew: Crew, cpus: float) -> int:
    asked = {"CPU": cpus, **({"GPU": crew.gpus} if crew.gpus else {})}
    whole = 1e-9  # ten processes of 0.1 CPUs fit on one
    return min(int(machine.get(name, 0.0) / amount + whole) for name, amount in asked.items())


def check_room(machines: Sequence[Machine], crew: Crew, cpus: float) -> None:
    """Check that a crew fits on the machines of a cluster, each process on one of them.

    Raises
    ------
    InputError
        It would wait for ever.
    """
    _check_cpus(machines, cpus)
    if crew.gpus:
        _check_gpus(machines, crew)
    room = places(machines, crew, cpus)
    if room < crew.workers:
        each = f"{cpus:g} CPUs" + (f" and {crew.gpus:g} GPUs" if crew.gpus else "")
        raise InputError(
            f"an encoder's training asks for {crew.workers} workers of {each} each and the "
            f"cluster has room for {room}; lower 'workers' in its 'training' or "
            "'run.cpus_per_trial', or use a larger cluster"
        )


def _check_cpus(machines: Sequence[Machine], cpus: float) -> None:
    largest = max((machine.get("CPU", 0.0) for machine in machines), default=0.0)
    if largest < cpus:
        raise InputError(
            f"a trial asks for {cpus:g} CPUs and the largest machine of the cluster has "
            f"{largest:g}; lower 'run.cpus_per_trial'"
        )


def _check_gpus(machines: Sequence[Machine], crew: Crew) -> None:
    if crew.workers > 1 and crew.gpus < 1:
        raise InputError(
            f"{crew.workers} workers with {crew.gpus:g} GPUs each would share a GPU, which NCCL "
            "refuses; set 'run.gpus_per_worker' to 1, or 'workers' in the 'training' to 1"
        )
    if all(machine.get("GPU", 0.0) < crew.gpus for machine in machines):
        raise InputError(
            f"an encoder's training asks for {crew.gpus:g} GPUs a worker and no machine of the "
            "cluster has them; set 'run.gpus_per_worker' to 0 or use a cluster with GPUs"
        )
