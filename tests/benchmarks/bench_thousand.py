"""A launch of a thousand short trials on Ray with pages: what a trial adds to the memory.

The driver and the largest worker are looked at all along: the most they had in the second half is
set beside the most they had while the second hundred was trained.
Run: ``python tests/benchmarks/bench_thousand.py``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import yaml
from _bench import machine, say
from _launches import STUDY
from _processes import SHOWN, Family, family

TRIALS, EARLY = 1000, 100
BAR = 1.10
CONTENT = {
    "name": "thousand",
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 300, "labels": 20, "skew": 2.0}],
    },
    "split": {"folds": 2, "min_positives": 2},
    "grid": [
        {"features": [["fingerprint"]], "training": {"hidden": [[8], [16], [24], [32], [40]]}}
    ],
    "seeds": list(range(TRIALS // 10)),
    "training": {"epochs": 5, "patience": 5, "epoch_steps": 1},
}


def main() -> int:
    """Print the memory along the way; 1 if it grows by more than the bar."""
    say(f"A thousand trials in one launch\n{machine()}")
    with tempfile.TemporaryDirectory() as name, family() as processes:
        folder = Path(name)
        file = folder / "thousand.yaml"
        file.write_text(yaml.safe_dump(CONTENT), encoding="utf-8")
        command = [STUDY, "launch", str(file), "--storage", str(folder / "studies")]
        before, began = processes.cpu_seconds(), time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        seen = _watch(process, folder / "studies" / "ledger", processes)
        wall, cpu = time.perf_counter() - began, processes.cpu_seconds() - before
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    say(f"{wall:.0f} s, {cpu / TRIALS:.3f} CPU s a trial, all processes, start and pages included")
    return _judged(seen)


def _watch(
    process: subprocess.Popen[bytes], ledger: Path, processes: Family
) -> dict[int, Mapping[str, int]]:
    """Return the memory by the number of finished trials."""
    seen: dict[int, Mapping[str, int]] = {}
    while process.poll() is None:
        time.sleep(0.25)
        done = sum(1 for _ in ledger.glob("*.trial"))
        sizes = processes.memory()
        if done >= EARLY and all(kind in sizes for kind in SHOWN):
            seen[done] = sizes
    return seen


def _judged(seen: Mapping[int, Mapping[str, int]]) -> int:
    status = 0
    for kind in SHOWN:
        early = max(sizes[kind] for done, sizes in seen.items() if done < 2 * EARLY)
        late = max(sizes[kind] for done, sizes in seen.items() if done >= TRIALS // 2)
        word = "kept" if late <= BAR * early else "MISSED"
        say(
            f"{kind}: {early / 1e6:.0f} MB at {EARLY}, {late / 1e6:.0f} MB up to {TRIALS:,}: "
            f"{late / early:.2f} times (bar {BAR:g} {word})"
        )
        status |= int(late > BAR * early)
    return status


if __name__ == "__main__":
    sys.exit(main())
