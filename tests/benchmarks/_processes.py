"""CPU seconds and memory of this process and of all that it started, Ray's daemons included."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MARK = "OLFACTION_BENCHMARK"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Family:
    """Processes that carry a mark in their environment, and this one."""

    mark: str

    def pids(self) -> list[int]:
        """Return those that run."""
        wanted = f"{_MARK}={self.mark}\0".encode()
        found = [os.getpid()]
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and wanted in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # ended meanwhile, or another user's
        return sorted(set(found))

    def cpu_seconds(self) -> float:
        """Return what they have used, with their children that have ended."""
        return sum(_cpu(pid) for pid in self.pids()) / _TICKS

    def memory(self) -> dict[str, int]:
        """Return the resident bytes of each kind of process."""
        kinds: dict[str, int] = {}
        for pid in self.pids():
            name, size = _size(pid)
            kinds[name] = kinds.get(name, 0) + size
        return kinds


@contextmanager
def family() -> Iterator[Family]:
    """Mark everything that is started in the block."""
    mark = uuid.uuid4().hex
    os.environ[_MARK] = mark
    try:
        yield Family(mark)
    finally:
        del os.environ[_MARK]


def _cpu(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(value) for value in fields[11:15])  # user, system, and of ended children


def _size(pid: int) -> tuple[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "ended", 0
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    kind = "driver" if pid == os.getpid() else values["Name"].strip().split(":")[0]
    return kind, int(values.get("VmRSS", "0 kB").split()[0]) * 1024
