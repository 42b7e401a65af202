"""CPU seconds and memory of this process and of all that it started, Ray's daemons included."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_MARK = "OLFACTION_BENCHMARK"
_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY = 0.1
_PEAKS = 10
"""Looks after which memory is looked at too."""
_KINDS = {"study": "driver", "ray": "worker", "raylet": "Ray's raylet", "gcs_server": "Ray's head"}
SHOWN = ("driver", "worker")
OWN = "this process"


class Family:
    """Processes that carry a mark in their environment, and this one.

    They are looked at many times a second, since Linux forgets what a process used whose parent
    does not wait for it. What the looking itself costs is taken off.
    """

    def __init__(self, mark: str) -> None:
        self._wanted = f"{_MARK}={mark}\0".encode()
        self._used: dict[tuple[int, bytes], int] = {}
        self._known: dict[tuple[int, bytes], bool] = {}
        self._peaks: dict[str, int] = {}
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
        """Return the resident bytes of the largest process of each kind: as it is now."""
        return self._largest("VmRSS")

    def peaks(self) -> dict[str, int]:
        """Return the most bytes that a process of each kind had, looked at every second."""
        self._note_peaks()
        return dict(self._peaks)

    def _note_peaks(self) -> None:
        for kind, size in self._largest("VmHWM").items():
            self._peaks[kind] = max(size, self._peaks.get(kind, 0))

    def _largest(self, field: str) -> dict[str, int]:
        kinds: dict[str, int] = {}
        for pid in [os.getpid(), *(pid for pid, _ in self._living())]:
            kind, size = _size(pid, field)
            kinds[kind] = max(size, kinds.get(kind, 0))
        return kinds

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        looks = 0
        while not self._ended.wait(_EVERY):
            self._look()
            looks += 1
            if looks % _PEAKS == 0:
                self._note_peaks()

    def _look(self) -> None:
        began = time.thread_time()
        found = self._living()
        with self._turn:
            self._used.update(found)
            self._own += time.thread_time() - began

    def _living(self) -> dict[tuple[int, bytes], int]:
        """Return the ticks of every marked process but this one, by number and start."""
        found = {}
        for name in os.listdir("/proc"):  # noqa: PTH208 (a Path for each takes twice the time)
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                stat = _content(f"/proc/{name}/stat").rpartition(b")")[2].split()
                key = int(name), stat[19]
                if key not in self._known:
                    self._known[key] = self._wanted in _content(f"/proc/{name}/environ")
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


def memory_line(sizes: Mapping[str, int]) -> str:
    """Say what the driver (this process, if no other is) and the largest worker had."""
    shown = {"driver": sizes.get("driver", sizes[OWN]), "worker": sizes.get("worker", 0)}
    return ", ".join(f"{kind} {shown[kind] / 1e6:.0f} MB" for kind in SHOWN)


def _content(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(handle, 1 << 16), b""))
    finally:
        os.close(handle)


def _size(pid: int, field: str) -> tuple[str, int]:
    """Return the kind of a process and a number of bytes from its status."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "ended", 0
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    name = values["Name"].strip().split(":")[0]
    kind = OWN if pid == os.getpid() else _KINDS.get(name, name)
    return kind, int(values.get(field, "0 kB").split()[0]) * 1024
