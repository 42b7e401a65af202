"""Launches of studies as commands, for benchmarks of whole studies."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from _processes import family

STUDY = str(Path(sys.executable).with_name("study"))


@dataclass(frozen=True)
class Launched:
    """What a launch took: wall and CPU seconds with all its processes, and their most memory."""

    wall: float
    cpu: float
    peaks: Mapping[str, int]


def launched(content: Mapping[str, Any], folder: Path, *options: str) -> Launched:
    """Launch a study into a folder, and wait for its end.

    Raises
    ------
    SystemExit
        A trial is missing or failed.
    """
    file = folder / f"{content['name']}.yaml"
    file.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    command = [STUDY, "launch", str(file), "--storage", str(folder / "studies"), *options]
    with family() as processes:
        before, began = processes.cpu_seconds(), time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        wall = time.perf_counter() - began
        found = Launched(wall, processes.cpu_seconds() - before, processes.peaks())
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return found
