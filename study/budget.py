"""What a launch may spend; it ends there, says what is missing, and the next one goes on."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import Field

from study.progress import duration
from study.section import Section

Amount = Annotated[float, Field(gt=0)]


class Budget(Section):
    """Most that one launch may spend; None: no limit.

    Attributes
    ----------
    trials : int, optional
        Trials to train.
    hours : float, optional
        Wall time.
    cpu_hours, gpu_hours : float, optional
        Hours of CPUs and GPUs that trials and encoder jobs reserve.
    """

    trials: Annotated[int, Field(ge=1)] | None = None
    hours: Amount | None = None
    cpu_hours: Amount | None = None
    gpu_hours: Amount | None = None


class Meter:
    """What a launch has spent of its budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._began = time.monotonic()
        self._cpu = self._gpu = 0.0

    def spend(self, seconds: float, *, cpus: float, gpus: float) -> None:
        """Count a piece of work with the CPUs and GPUs it reserved."""
        self._cpu += seconds * cpus
        self._gpu += seconds * gpus

    @property
    def reached(self) -> str:
        """What is used up, in words; empty while there is something left."""
        wall = time.monotonic() - self._began
        spent = (
            ("hours", self._budget.hours, wall, ""),
            ("cpu_hours", self._budget.cpu_hours, self._cpu, " of CPUs"),
            ("gpu_hours", self._budget.gpu_hours, self._gpu, " of GPUs"),
        )
        for name, limit, used, what in spent:
            if limit is not None and used >= 3_600 * limit:
                return f"run.budget.{name}: {limit:g} is reached after {duration(used)}{what}"
        return ""
