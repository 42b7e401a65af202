"""A cluster that nobody has at hand: 1,000 nodes and 100,000 trials, from measured service times.

Measured here, in this run: seconds of the driver for a task (the slope between a short and a long
grid of trials that do nothing, on a local Ray), records that the ledger takes a second (1 and 4
writers at once, each flushed to disk), and seconds of the page of a cell. Then packs of trials go
through three stations: the driver (one at a time), a place on a node, and the storage (one record
after the other, at the measured rate). Pages are written beside, by one thread. The
station that is busy most of the time is the one that more nodes would wait for.
Run: ``python tests/benchmarks/bench_simulation.py [--seconds 6]``.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from _bench import machine, say
from bench_storage import page_seconds

from study.executors.base import ResultCallback, Task, TaskResult
from study.executors.ray import RayExecutor
from study.storage.checksums import add_checksum
from study.storage.storage import Storage

HERE = Path(__file__).parent
TRIALS, CELL = 100_000, 5
NODES, PACKS = (10, 100, 1_000), (1, 16)
RECORD = 450_000
"""Bytes of a record: 985 molecules x 91 labels."""
WRITERS = 4


@dataclass(frozen=True)
class Service:
    """Seconds that each station takes."""

    driver: float
    record: float
    trial: float
    page: float


@dataclass(frozen=True)
class Run:
    """What a simulated study took, and the share of it that each station was busy."""

    wall: float
    busy: dict[str, float]


def main() -> int:
    """Print the measured times and the simulated studies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=6.0, help="of one trial on its place")
    seconds = parser.parse_args().seconds
    say(f"Simulated clusters from measured times\n{machine()}")
    service = Service(_driver(), _record(), seconds, page_seconds())
    say(
        f"driver {1e3 * service.driver:.1f} ms a task, ledger {1 / service.record:.0f} records/s, "
        f"page {service.page:.3f} s a cell of {CELL}; a trial {seconds:g} s; {TRIALS:,} trials, "
        "one place a node"
    )
    say(f"{'nodes':>6}{'pack':>6}{'hours':>9}{'ideal':>9}  busiest station")
    for nodes in NODES:
        for pack in PACKS:
            run = simulate(service, nodes, pack)
            name = max(run.busy, key=lambda station: run.busy[station])
            shares = ", ".join(f"{key} {value:.0%}" for key, value in run.busy.items())
            ideal = TRIALS * seconds / nodes
            say(
                f"{nodes:>6,}{pack:>6}{run.wall / 3600:>9.2f}{ideal / 3600:>9.2f}  {name} "
                f"({shares})"
            )
    return 0


def simulate(service: Service, nodes: int, pack: int, seed: int = 0) -> Run:
    """Send packs through driver, node and storage; trials vary by a fifth.

    Every place asks the driver for a pack when it has one no more; a pack keeps its place until
    its records are written.
    """
    chance = random.Random(seed)  # noqa: S311 (no secret)
    driver = storage = 0.0
    work = {"driver": 0.0, "nodes": 0.0, "storage": 0.0}
    free = [0.0] * nodes
    for begun in range(0, TRIALS, pack):
        size = min(pack, TRIALS - begun)
        ready = heapq.heappop(free)
        driver = max(driver, ready) + service.driver
        took = sum(max(0.1, chance.gauss(1, 0.2)) for _ in range(size)) * service.trial
        done = driver + took
        storage = max(storage, done - took / 2) + size * service.record  # written as they end
        end = max(done, storage)
        work["driver"] += service.driver
        work["nodes"] += (end - driver) / nodes
        work["storage"] += size * service.record
        heapq.heappush(free, end)
    wall = max(free)
    pages = TRIALS / CELL * service.page
    busy = {name: spent / wall for name, spent in work.items()}
    return Run(max(wall, pages), {**busy, "pages": pages / max(wall, pages)})


def _driver() -> float:
    """Return the seconds of the driver for one task, from the CPU time of this process."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    executor, spent = RayExecutor("local"), []
    counts = (20, 120)
    with tempfile.TemporaryDirectory() as folder:
        for count in (4, *counts):
            tasks = [Task(f"t{n}", "idle_work:nothing", {"n": n}) for n in range(count)]
            found: list[TaskResult] = []
            began = time.process_time()
            executor.grid(tasks, ResultCallback(found.append), folder=f"{folder}/scratch")
            spent.append(time.process_time() - began)
    executor.close()
    return (spent[2] - spent[1]) / (counts[1] - counts[0])


def _record() -> float:
    """Return the seconds of a record with several writers at once, as fast as they were."""
    with tempfile.TemporaryDirectory() as folder:
        alone = _write((folder, 0, 40)) / 40
        with ProcessPoolExecutor(WRITERS) as pool:
            list(pool.map(_write, [(folder, n, 2) for n in range(WRITERS)]))  # started
            began = time.perf_counter()
            list(pool.map(_write, [(folder, n, 40) for n in range(1, WRITERS + 1)]))
            together = (time.perf_counter() - began) / (40 * WRITERS)
    return min(alone, together)


def _write(what: tuple[str, int, int]) -> float:
    folder, writer, count = what
    storage, data = Storage(folder), add_checksum(os.urandom(RECORD))
    began = time.perf_counter()
    for number in range(count):
        storage.write(f"{writer}-{number}.trial", data)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
