"""Timing and printing, shared by the benchmark scripts of this folder."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of a piece of work; `wall` of the best run, CPU of the same run."""

    wall: float
    cpu: float

    def per(self, units: float) -> Cost:
        """Cost of one unit."""
        return Cost(self.wall / units, self.cpu / units)


@dataclass(frozen=True)
class Row:
    """One line of the table; `bar` is the wall time that may not be exceeded."""

    what: str
    cost: Cost
    note: str = ""
    bar: float | None = None

    @property
    def missed(self) -> bool:
        return self.bar is not None and self.cost.wall > self.bar

    def judged(self) -> Row:
        """The row with its bar, and whether it was kept, in the note."""
        if self.bar is None:
            return self
        word = "MISSED" if self.missed else "kept"
        return replace(self, note=f"bar {self.bar:g} s {word}; {self.note}".rstrip("; "))


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    spent = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in spent)


def measure(work: Callable[[], object], runs: int = 1) -> Cost:
    """Run `work` several times and return the cost of the run with the least wall time."""
    costs = []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), cpu_seconds()
        work()
        costs.append(Cost(time.perf_counter() - wall, cpu_seconds() - cpu))
    return min(costs, key=lambda cost: cost.wall)


def show(title: str, rows: Sequence[Row]) -> int:
    """Print the table and return the exit status: 1 where a bar was missed."""
    judged = [row.judged() for row in rows]
    width = max(len(row.what) for row in judged)
    say(f"{title}\n{machine()}")
    say(f"{'':<{width}}  {'wall s':>9}  {'CPU s':>9}")
    for row in judged:
        line = f"{row.what:<{width}}  {row.cost.wall:9.4f}  {row.cost.cpu:9.4f}  {row.note}"
        say(line.rstrip())
    say("")
    return int(any(row.missed for row in rows))


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def machine() -> str:
    """Say what the figures were measured on."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores (load {load}), "
        f"Python {platform.python_version()}; wall of the best run, CPU with its children"
    )
