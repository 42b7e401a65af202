"""One launch of the same work at a time: a lock with its owner's name, not kept by a dead owner.

Files ``launch-N.lock`` lie in the study's folder; the highest N counts. To take over, one
creates N + 1, which of several can succeed for one only, and then looks whether a still higher
one is there. Who lets go renames its file to ``launch-N.free``, which a full disk allows. The
highest is never removed, so N only grows and a slow taker is told. An owner renews its file in
every beat; whether it lives is seen from that, over one lease of the watcher's own clock: the
clocks of two machines are never compared.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from study.errors import StorageError, StudyError
from study.owner import Owner, read_owner, this_process
from study.storage import Storage

LEASE = 60.0
BEATS = 6
"""Renewals in a lease: the lock survives some that fail."""
_NAME = re.compile(r"launch-(\d+)\.(?:lock|free)")

Note = Callable[[str], None]


class LockedError(StudyError):
    """Another launch of the study runs."""


@dataclass(frozen=True)
class _Seen:
    """The lock as it was found: its number, its bytes, who they say has it.

    Nobody has number 0, which stands for no file, nor one that was let go: these have no bytes.
    """

    number: int
    data: bytes | None = None
    owner: Owner | None = None

    def __str__(self) -> str:
        return str(self.owner or "an unknown process, for the lock is damaged")

    def free(self, silent: float, lease: float) -> str | None:
        """Return what to say on taking it; None if its owner may live."""
        if self.data is None:
            return ""
        if self.owner and self.owner.alive is False:
            return f"the launch by {self.owner} was cut off; this one goes on from there"
        if silent >= max(lease, self.owner.lease if self.owner else 0):
            return f"no sign of life for {silent:.0f} s from {self}; this launch takes over"
        return None


class StudyLock:
    """The right to launch a study, to be held once.

    Parameters
    ----------
    storage : Storage
        Folder of the study.
    lease : float
        Seconds without a sign of life after which a launch elsewhere counts as dead.
    """

    def __init__(self, storage: Storage, lease: float = LEASE) -> None:
        self.storage, self.lease = storage, lease
        self._mine, self._number = this_process(lease), 0
        self._lost, self._done, self._turn = threading.Event(), threading.Event(), threading.Lock()
        self._renewed = 0.0

    @property
    def lost(self) -> bool:
        """Whether another launch has taken over: this one must stop.

        That can be while this process was suspended: who missed a lease looks before it answers.
        """
        if self._number and not self._lost.is_set() and _clock() - self._renewed > self.lease:
            self._renew()
        return self._lost.is_set()

    @contextmanager
    def held(self, *, wait: bool = False, note: Note = print) -> Iterator[StudyLock]:
        """Hold the lock while the block runs.

        Parameters
        ----------
        wait : bool
            Wait until the launch that has it ends; otherwise refuse.
        note : function
            Told of a takeover and of waiting.

        Raises
        ------
        LockedError
            Another launch of the study runs; the message names it.
        StorageError
            The folder cannot be written.
        """
        self._acquire(wait=wait, note=note)
        beats = threading.Thread(target=self._beat, name="study lock", daemon=True)
        beats.start()
        try:
            yield self
        finally:
            self._done.set()
            beats.join()
            self._release()

    def seen(self) -> Owner | None:
        """Return who the lock says has it, or had it last; None if nobody or it is damaged."""
        return self._look().owner

    def _acquire(self, *, wait: bool, note: Note) -> None:
        first = seen = self._look()
        since, said = time.monotonic(), ""
        while True:
            why = seen.free(time.monotonic() - since, self.lease)
            if why is None:
                self._refuse(seen, wait=wait, moved=seen.number == first.number and seen != first)
                said = said or self._say(seen, wait=wait, note=note)
                time.sleep(min(1.0, self.lease / BEATS / 2))
            elif self._take(seen):
                if why:
                    note(why)
                return
            found = self._look()
            if found != seen:
                seen, since = found, time.monotonic()

    def _refuse(self, seen: _Seen, *, wait: bool, moved: bool) -> None:
        """Refuse to go on beside an owner that is seen to live."""
        if not wait and seen.owner and (seen.owner.alive or moved):
            raise LockedError(
                f"{self.storage.address} is being launched by {seen.owner} with "
                f"`{seen.owner.command}`; wait until it ends, stop it, or give --wait to begin "
                "when it has ended"
            )

    def _say(self, seen: _Seen, *, wait: bool, note: Note) -> str:
        lease = f"{self.lease:g} s without a sign of life"
        if wait:
            said = f"waiting for the launch by {seen} to end, or for {lease}"
        else:
            said = f"looking whether the launch by {seen} still runs; {lease} are a no"
        note(said)
        return said

    def _look(self) -> _Seen:
        while True:
            number, name = self._highest()
            if name != _lock(number):
                return _Seen(number)
            with suppress(FileNotFoundError):  # let go or tidied away just now: look again
                data = self.storage.read(name)
                return _Seen(number, data, read_owner(data, self.storage.path(name)))

    def _take(self, seen: _Seen) -> bool:
        number = seen.number + 1
        if not self.storage.create(_lock(number), self._mine.to_bytes()):
            return False
        if self._highest()[0] != number:  # a slow taker: others came and went meanwhile
            self.storage.remove(_lock(number))
            return False
        self._number, self._renewed = number, _clock()
        if seen.data is not None and seen.owner is None:
            with suppress(FileNotFoundError):
                self.storage.quarantine(_lock(seen.number))
        for old, name in self._files():
            if old < number:
                self.storage.remove(name)
        return True

    def _beat(self) -> None:
        while not self._done.wait(self.lease / BEATS) and not self._lost.is_set():
            self._renew()

    def _renew(self) -> None:
        """Give a sign of life; what cannot be written is tried again at the next beat."""
        with self._turn, suppress(StorageError):
            if self._highest()[0] > self._number:
                self._lost.set()
                return
            self._mine = replace(self._mine, beat=self._mine.beat + 1)
            self.storage.write(_lock(self._number), self._mine.to_bytes())
            self._renewed = _clock()

    def _release(self) -> None:
        # If it fails, the next launch sees that this process is gone, or misses its beats.
        with suppress(StorageError, FileNotFoundError):
            if self._highest()[0] == self._number:
                self.storage.rename(_lock(self._number), f"launch-{self._number:06d}.free")

    def _highest(self) -> tuple[int, str]:
        return max(self._files(), default=(0, ""))

    def _files(self) -> list[tuple[int, str]]:
        found = ((name, _NAME.fullmatch(name)) for name in self.storage.names(""))
        return [(int(match[1]), name) for name, match in found if match]


def is_lock(name: str) -> bool:
    """Return whether a file of this name belongs to a lock."""
    return _NAME.fullmatch(name) is not None


def forget(storage: Storage) -> None:
    """Remove a lock for good, once there is nothing left that two could do at once."""
    for name in filter(is_lock, storage.names("")):
        with suppress(FileNotFoundError):
            storage.remove(name)


def _lock(number: int) -> str:
    return f"launch-{number:06d}.lock"


def _clock() -> float:
    """Return seconds that go on while the machine sleeps, where the system counts them."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def held_by(storage: Storage) -> Owner | None:
    """Return who holds the lock of a study's folder, unless it is seen from here to have ended."""
    owner = StudyLock(storage).seen()
    return None if owner is None or owner.alive is False else owner
