"""One launch of the same work at a time, and the name of whoever launches it.

In a mounted folder the lock is a file lock of the kernel, which ends with its process, however
that ends. An object store has no such locks: there it is a lease that its owner renews.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from study.errors import StorageError, StudyError
from study.storage.atomic import name_error
from study.storage.checksums import LedgerError, add_json_checksum, verify_json_checksum
from study.storage.storage import Storage

LEASE = 60.0
_RENEWALS = 6
"""Renewals in a lease: the lock survives some that fail."""
_LOCK, _OWNER = "launch.lock", "launch-owner.json"
_NUMBERED = re.compile(r"launch-(\d+)\.(lock|free)")
"""Leases, and the lock files of earlier versions; those let a lock go by renaming it to .free."""
_MOMENT = 0.5
"""Seconds to try for a file lock, in which a `read_holder` elsewhere has let go of it again."""
_POLL = 0.1
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")

Note = Callable[[str], None]


class LockedError(StudyError):
    """Another launch of the study runs."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock, for messages.

    Attributes
    ----------
    user, host : str
    pid : int
    since : str
        When the launch began, by its own clock.
    command : str
        Command line, without passwords of URLs.
    """

    user: str
    host: str
    pid: int
    since: str
    command: str

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid}, since {self.since})"

    def to_bytes(self, renewals: int = 0) -> bytes:
        """Serialise as JSON with a checksum; renewals of a lease make different bytes."""
        return add_json_checksum({**asdict(self), "beat": renewals})


def current_owner() -> Owner:
    """Return this process as the owner of a lock."""
    return Owner(
        user=_user(),
        host=socket.gethostname(),
        pid=os.getpid(),
        since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=_PASSWORD.sub("", " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
    )


class StudyLock:
    """The right to launch a study, to be held once.

    Parameters
    ----------
    storage : Storage
        Folder of the study.
    lease : float
        On an object store, seconds without a renewal after which a launch counts as dead.
    """

    def __init__(self, storage: Storage, lease: float = LEASE) -> None:
        self._lock = _lock_of(storage, lease)

    @property
    def lost(self) -> bool:
        """Whether another launch has taken over: this one must stop."""
        return self._lock.lost

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
        self._lock.take(wait=wait, note=note)
        try:
            yield self
        finally:
            self._lock.release()


def read_holder(storage: Storage) -> Owner | None:
    """Return who holds the lock of a study's folder; None if nobody does."""
    return _lock_of(storage, LEASE).owner()


def is_lock(name: str) -> bool:
    """Return whether a file of this name belongs to a lock."""
    return name in (_LOCK, _OWNER) or _NUMBERED.fullmatch(name) is not None


def remove_lock(storage: Storage) -> None:
    """Remove a lock for good, once there is nothing left that two could do at once."""
    for name in filter(is_lock, storage.names("")):
        with suppress(FileNotFoundError):
            storage.remove(name)


class _FileLock:
    """A lock of the kernel on ``launch.lock``; ``launch-owner.json`` says who holds it.

    The kernel lets go of it when the process ends, on NFS when its machine does. The file itself
    stays: who unlinks a locked file makes room for a second lock of the same name. Threads of one
    process exclude each other too, and a forked child does not keep the lock of its parent.
    """

    lost = False
    """A process that is suspended keeps its lock, so nobody takes over."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._file = FileLock(Path(storage.address) / _LOCK, thread_local=False)

    def take(self, *, wait: bool, note: Note) -> None:
        with name_error(self._storage.path(_LOCK), "written"):
            Path(self._storage.address).mkdir(parents=True, exist_ok=True)
        if not self._acquired(_MOMENT):
            owner = self._written()
            if not wait:
                raise LockedError(_refusal(self._storage, owner))
            note(f"waiting for the launch by {owner or 'an unknown process'} to end")
            self._acquired(-1)
        try:
            self._sign(note)
        except BaseException:
            self._file.release()
            raise

    def _sign(self, note: Note) -> None:
        """Write who holds the lock; say whose launch ended without letting go of it."""
        names = self._storage.names("")
        before = self._written()
        self._storage.write(_OWNER, current_owner().to_bytes())
        if _OWNER in names:
            who = before or "an unknown process"  # its file is damaged
            note(f"the launch by {who} was cut off; this one goes on from there")
        for name in filter(_NUMBERED.fullmatch, names):  # of an earlier version
            self._storage.remove(name)

    def release(self) -> None:
        with suppress(StorageError):  # the next launch will say that this one was cut off
            self._storage.remove(_OWNER)
        self._file.release()

    def owner(self) -> Owner | None:
        written = self._written()
        if written is None:
            return None
        try:
            free = self._acquired(0)
        except StorageError:  # a folder that can only be read: what is written there is believed
            return written
        if free:  # its owner was killed
            self._file.release()
        return None if free else written

    def _written(self) -> Owner | None:
        with suppress(FileNotFoundError):
            return _read_owner(self._storage.read(_OWNER), self._storage.path(_OWNER))
        return None

    def _acquired(self, seconds: float) -> bool:
        with name_error(self._storage.path(_LOCK), "written"):
            try:
                self._file.acquire(timeout=seconds, poll_interval=_POLL)
            except Timeout:
                return False
        return True


class _Lease:
    """A lease on an object store, which can create an object for one of several who try.

    The object ``launch-N.lock`` with the highest N counts. To take over, one creates N + 1, and
    looks whether a still higher one is there. A released lock has no content; the highest is never
    removed, so that N only grows and a slow taker is told. The owner writes its object anew several
    times in a lease. Whether it lives is seen from that, over one lease of the watcher's own
    clock: the clocks of two machines are never compared.
    """

    def __init__(self, storage: Storage, lease: float) -> None:
        self._storage, self._lease = storage, lease
        self._mine, self._number, self._renewals = current_owner(), 0, 0
        self._lost, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="study lock", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether the last renewal found that another took over."""
        return self._lost.is_set()

    def take(self, *, wait: bool, note: Note) -> None:
        first = seen = self._look()
        since, said = time.monotonic(), False
        while True:
            silent, (number, content) = time.monotonic() - since, seen
            if not content or silent >= self._lease:
                if self._created(number + 1):
                    break
            elif not wait and seen != first:  # its owner is seen to live
                raise LockedError(_refusal(self._storage, self._read(content)))
            elif not said:
                said = True
                note(self._waiting(content, wait=wait))
            time.sleep(min(1.0, self._lease / _RENEWALS / 2))
            found = self._look()
            if found != seen:
                seen, since = found, time.monotonic()
        if content:
            who = self._read(content) or "an unknown process, for the lock is damaged"
            note(f"no sign of life for {silent:.0f} s from {who}; this launch takes over")
        self._thread.start()

    def release(self) -> None:
        self._done.set()
        self._thread.join()
        with suppress(StorageError):  # the next launch sees that there are no renewals
            if self._highest()[0] == self._number:
                self._storage.write(_numbered(self._number), b"")

    def owner(self) -> Owner | None:
        return self._read(self._look()[1])

    def _waiting(self, content: bytes, *, wait: bool) -> str:
        who = self._read(content) or "an unknown process, for the lock is damaged"
        lease = f"{self._lease:g} s without a sign of life"
        if wait:
            return f"waiting for the launch by {who} to end, or for {lease}"
        return f"looking whether the launch by {who} still runs; {lease} are a no"

    def _read(self, content: bytes) -> Owner | None:
        return _read_owner(content, self._storage.path(_LOCK))

    def _look(self) -> tuple[int, bytes]:
        """Return number and content of the lock: 0 if there is none, no content if released."""
        while True:
            number, name = self._highest()
            if name != _numbered(number):
                return number, b""
            with suppress(FileNotFoundError):  # taken over just now: look again
                return number, self._storage.read(name)

    def _created(self, number: int) -> bool:
        if not self._storage.create(_numbered(number), self._mine.to_bytes()):
            return False
        if self._highest()[0] != number:  # a slow taker: others came and went meanwhile
            self._storage.remove(_numbered(number))
            return False
        self._number = number
        for other, name in self._files():
            if other < number:
                self._storage.remove(name)
        return True

    def _keep(self) -> None:
        """Renew the lease until it is released or lost; if one renewal fails, the next may not."""
        while not self._done.wait(self._lease / _RENEWALS) and not self._lost.is_set():
            with suppress(StorageError):
                if self._highest()[0] > self._number:
                    self._lost.set()
                    return
                self._renewals += 1
                self._storage.write(_numbered(self._number), self._mine.to_bytes(self._renewals))

    def _highest(self) -> tuple[int, str]:
        return max(self._files(), default=(0, ""))

    def _files(self) -> list[tuple[int, str]]:
        found = ((name, _NUMBERED.fullmatch(name)) for name in self._storage.names(""))
        return [(int(match[1]), name) for name, match in found if match]


def _lock_of(storage: Storage, lease: float) -> _FileLock | _Lease:
    return _FileLock(storage) if storage.is_local else _Lease(storage, lease)


def _refusal(storage: Storage, owner: Owner | None) -> str:
    by = f"{owner} with `{owner.command}`" if owner else "an unknown process"
    return (
        f"{storage.address} is being launched by {by}; wait until it ends, stop it, or give --wait "
        "to begin when it has ended"
    )


def _read_owner(data: bytes, place: str) -> Owner | None:
    """Return what a lock says; None if it is damaged or released."""
    try:
        value = verify_json_checksum(data, place)
        return Owner(**{field.name: value[field.name] for field in fields(Owner)})
    except (LedgerError, KeyError):
        return None


def _numbered(number: int) -> str:
    return f"launch-{number:06d}.lock"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"
