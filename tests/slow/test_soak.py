"""A thousand short trials with kills all along: complete, and the driver does not grow."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from killing import STUDY
from launches import Launches, launches

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]

TRIALS, CELLS = 1000, 4
EVERY = 4.0  # seconds between two kills
GROWTH = 1.5
MARK = 100  # trials at which the memory is taken


@pytest.fixture
def soaked(
    tmp_path: Path, database: Path, study_command: list[str], environment: dict[str, str]
) -> Launches:
    run = {"retries": 100}  # on a slow day the same pack is hit again and again
    study = {**STUDY, "seeds": list(range(TRIALS // (2 * CELLS))), "run": run}
    made = launches(study, tmp_path / "store", study_command, environment)
    shutil.copy(database, made.store / "mlflow.db")
    return made


def test_a_thousand_trials_with_a_kill_every_few_seconds(soaked: Launches) -> None:
    """Workers die; the driver dies once, in the middle, and is started again."""
    kept = soaked.records()
    sizes: dict[int, int] = {}
    for driver_dies in (True, False):
        process = soaked.start()
        sizes = _watch(soaked, process, until=TRIALS // 2 if driver_dies else TRIALS + 1)
        if driver_dies:
            process.kill()
        process.wait(timeout=600)
        now = soaked.records()
        assert {name: now.get(name) for name in kept} == kept
        kept = now
        soaked.sweep()
    assert process.returncode == 0, soaked.log.read_text(encoding="utf-8")
    assert len(kept) == TRIALS
    assert soaked.pages() == {"study FINISHED": 1, "cell FINISHED": CELLS}
    early = max(size for done, size in sizes.items() if done <= min(sizes) + MARK)
    assert max(sizes.values()) <= GROWTH * early


def _watch(soaked: Launches, process: subprocess.Popen[bytes], until: int) -> dict[int, int]:
    """Kill a worker every few seconds; return the driver's memory (KiB) by trials finished.

    None is killed before a trial has ended since the last one: where a worker takes longer to start
    than the next kill to come, there would be no end.
    """
    chance = random.Random(0)  # noqa: S311 (no secret)
    killed, before, sizes = time.monotonic(), len(soaked.records()), {}
    while process.poll() is None and len(soaked.records()) < until:
        time.sleep(0.5)
        if soaked.records():
            sizes[len(soaked.records())] = _memory(process.pid)
        if time.monotonic() - killed > EVERY and len(soaked.records()) > before:
            killed, before = time.monotonic(), len(soaked.records())
            workers = soaked.leftovers("Trainable")
            if workers:
                os.kill(chance.choice(workers), signal.SIGKILL)
    return sizes


def _memory(pid: int) -> int:
    """Return the resident memory of a process, KiB; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(lines[0].split()[1]) if lines else 0
