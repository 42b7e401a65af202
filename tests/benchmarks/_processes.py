"""CPU seconds and memory of this process and of all that it started, Ray's daemons included."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MARK = "OLFACTION_BENCHMARK"
_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY = 0.05


class Family:
    """Processes that carry a mark in their environment, and this one.

    They are looked at many times a second, since Linux forgets what a process used whose parent
    does not wait for it. What the looking itself costs is taken off.
    """

    def __init__(self, mark: str) -> None:
        self._wanted = f"{_MARK}={mark}\0".encode()
        self._used: dict[tuple[int, str], int] = {}
        self._known: dict[tuple[int, str], bool] = {}
        self._own, self._ended = 0.0, threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def cpu_seconds(self) -> float:
        """Return what they have used so far, those that have ended too."""
        self._look()
        with self._turn:
            return sum(self._used.values()) / _TICKS + time.process_time() - self._own

    def memory(self) -> dict[str, int]:
        """Return the resident bytes of each kind of process."""
        kinds: dict[str, int] = {}
        for pid in [os.getpid(), *(pid for pid, _ in self._living())]:
            name, size = _size(pid)
            kinds[name] = kinds.get(name, 0) + size
        return kinds

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        began = time.thread_time()
        found = self._living()
        with self._turn:
            self._used.update(found)
            self._own += time.thread_time() - began

    def _living(self) -> dict[tuple[int, str], int]:
        """Return the ticks of every marked process but this one, by number and start."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                stat = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                key = int(entry.name), stat[19]
                if key not in self._known:
                    self._known[key] = self._wanted in (entry / "environ").read_bytes()
            except OSError:
                continue  # ended meanwhile, or another user's
            if self._known[key]:
                found[key] = int(stat[11]) + int(stat[12])
        return found


@contextmanager
def family() -> Iterator[Family]:
    """Mark everything that is started in the block."""
    mark = uuid.uuid4().hex
    os.environ[_MARK] = mark
    found = Family(mark)
    try:
        yield found
    finally:
        found.close()
        del os.environ[_MARK]


def _size(pid: int) -> tuple[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "ended", 0
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    kind = "driver" if pid == os.getpid() else values["Name"].strip().split(":")[0]
    return kind, int(values.get("VmRSS", "0 kB").split()[0]) * 1024
