"""Locks that allow one launch of a study at a time, and name the process that runs it.

In a mounted folder the lock is a file lock of the kernel, which is released when its process
ends, even by a kill. An object store has no such locks: there it is a lease that its owner renews.
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
"""Seconds without a renewal after which a lease counts as abandoned."""
_RENEWALS = 6
"""Renewals per lease, so that a lock survives a few that fail."""
_LOCK, _OWNER = "launch.lock", "launch-owner.json"
_NUMBERED = re.compile(r"launch-(\d+)\.(lock|free)")
"""Leases, and lock files of earlier versions, which released a lock by renaming it to .free."""
_FIRST_TRY = 0.5
"""Seconds to wait for a file lock, since a `read_holder` elsewhere holds it for a moment."""
_POLL = 0.1
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")

Note = Callable[[str], None]


class LockedError(StudyError):
    """Another launch of the study is running."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock, for messages.

    Attributes
    ----------
    user, host : str
    pid : int
    since : str
        Start of the launch, by the clock of its machine.
    command : str
        Command line, without the passwords of URLs.
    """

    user: str
    host: str
    pid: int
    since: str
    command: str

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid}, since {self.since})"

    def to_bytes(self, renewals: int = 0) -> bytes:
        """Serialise as JSON with a checksum; every renewal of a lease gives other bytes."""
        return add_json_checksum({**asdict(self), "beat": renewals})


def current_owner() -> Owner:
    """Return this process as the owner of a lock."""
    return Owner(
        user=_read_user_name(),
        host=socket.gethostname(),
        pid=os.getpid(),
        since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=_PASSWORD.sub("", " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
    )


class StudyLock:
    """The lock of a study: one launch at a time can hold it.

    Parameters
    ----------
    storage : Storage
        Folder of the study.
    lease : float
        On an object store, seconds without a renewal after which a launch counts as dead.
    """

    def __init__(self, storage: Storage, lease: float = LEASE) -> None:
        self._lock = _build_lock(storage, lease)

    @property
    def lost(self) -> bool:
        """Whether another launch has taken over, so that this one must stop."""
        return self._lock.lost

    @contextmanager
    def hold(self, *, wait: bool = False, note: Note = print) -> Iterator[StudyLock]:
        """Hold the lock while the block runs.

        Parameters
        ----------
        wait : bool
            Wait until the launch that holds it ends, instead of raising LockedError.
        note : function
            Called with a message about waiting and about a takeover.

        Raises
        ------
        LockedError
            Another launch of the study is running; the message names it.
        StorageError
            The folder cannot be written.
        """
        self._lock.take(wait=wait, note=note)
        try:
            yield self
        finally:
            self._lock.release()


def read_holder(storage: Storage) -> Owner | None:
    """Return the owner of the lock of a study's folder; None if it is not locked."""
    return _build_lock(storage, LEASE).owner()


def find_locked_folders(root: Storage) -> dict[str, Owner]:
    """Return the owners of the locks that are held in the subfolders of a folder, by subfolder."""
    marks = _OWNER if root.is_local else "launch-*.lock"  # `Storage.find_folders_with` takes both
    owners = {name: read_holder(root.subfolder(name)) for name in root.find_folders_with(marks)}
    return {name: owner for name, owner in owners.items() if owner is not None}


def is_lock(name: str) -> bool:
    """Return whether a file of this name belongs to a lock."""
    return name in (_LOCK, _OWNER) or _NUMBERED.fullmatch(name) is not None


def remove_lock(storage: Storage) -> None:
    """Remove the files of a lock, once its work is done and no launch can compete for it."""
    for name in filter(is_lock, storage.names("")):
        with suppress(FileNotFoundError):
            storage.remove(name)


class _FileLock:
    """A kernel lock on ``launch.lock``; ``launch-owner.json`` names its owner.

    The kernel releases it when the process ends, on NFS when its machine does. The file is never
    unlinked: a second process could then lock a new file of the same name. Threads of one process
    exclude each other too, and a forked child does not keep the lock of its parent.
    """

    lost = False
    """Always False: a suspended process keeps its lock, so nobody can take over."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._file = FileLock(Path(storage.address) / _LOCK, thread_local=False)

    def take(self, *, wait: bool, note: Note) -> None:
        with name_error(self._storage.path(_LOCK), "written"):
            Path(self._storage.address).mkdir(parents=True, exist_ok=True)
        if not self._try_acquire(_FIRST_TRY):
            owner = self._read_owner_file()
            if not wait:
                raise LockedError(_format_refusal(self._storage, owner))
            note(f"waiting for the launch by {owner or 'an unknown process'} to end")
            self._try_acquire(-1)
        try:
            self._write_owner(note)
        except BaseException:
            self._file.release()
            raise

    def _write_owner(self, note: Note) -> None:
        """Write the owner file; report a launch that ended without removing its own."""
        names = self._storage.names("")
        previous = self._read_owner_file()
        self._storage.write(_OWNER, current_owner().to_bytes())
        if _OWNER in names:
            who = previous or "an unknown process"  # its file is damaged
            note(f"the launch by {who} was interrupted; this one continues it")
        for name in filter(_NUMBERED.fullmatch, names):  # of an earlier version
            self._storage.remove(name)

    def release(self) -> None:
        with suppress(StorageError):  # the next launch will report that this one was interrupted
            self._storage.remove(_OWNER)
        self._file.release()

    def owner(self) -> Owner | None:
        owner = self._read_owner_file()
        if owner is None:
            return None
        try:
            free = self._try_acquire(0)
        except StorageError:  # a read-only folder: its lock cannot be tried, so trust the file
            return owner
        if free:  # its owner was killed
            self._file.release()
        return None if free else owner

    def _read_owner_file(self) -> Owner | None:
        with suppress(FileNotFoundError):
            return _read_owner(self._storage.read(_OWNER), self._storage.path(_OWNER))
        return None

    def _try_acquire(self, seconds: float) -> bool:
        with name_error(self._storage.path(_LOCK), "written"):
            try:
                self._file.acquire(timeout=seconds, poll_interval=_POLL)
            except Timeout:
                return False
        return True


class _Lease:
    """A lease on an object store, which creates an object for only one of several who try.

    The object ``launch-N.lock`` with the highest N is the lock; number 0 means that there is none.
    To take over, a process creates N + 1 and checks that no higher number exists. A released lock
    has no content. The highest object is never removed, so N only grows and a process that was
    slow to take over notices. The owner rewrites its object several times per lease; a watcher
    that sees no change for one lease, by its own clock, takes the owner for dead. The clocks of
    two machines are never compared.
    """

    def __init__(self, storage: Storage, lease: float) -> None:
        self._storage, self._lease = storage, lease
        self._owner, self._number, self._renewals = current_owner(), 0, 0
        self._lost, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name="study lock", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether the last renewal found a newer lease of another launch."""
        return self._lost.is_set()

    def take(self, *, wait: bool, note: Note) -> None:
        first = seen = self._read_lease()
        changed_at, noted = time.monotonic(), False
        while True:
            silent, (number, content) = time.monotonic() - changed_at, seen
            if not content or silent >= self._lease:
                if self._create_lease(number + 1):
                    break
            elif not wait and seen != first:  # it was renewed, so its owner is alive
                raise LockedError(_format_refusal(self._storage, self._read(content)))
            elif not noted:
                noted = True
                note(self._format_waiting(content, wait=wait))
            time.sleep(min(1.0, self._lease / _RENEWALS / 2))
            current = self._read_lease()
            if current != seen:
                seen, changed_at = current, time.monotonic()
        if content:
            who = self._read(content) or "an unknown process (the lock is damaged)"
            note(f"no sign of life for {silent:.0f} s from {who}; this launch takes over")
        self._thread.start()

    def release(self) -> None:
        self._done.set()
        self._thread.join()
        with suppress(StorageError):  # the next launch will see that renewals have ended
            if self._highest()[0] == self._number:
                self._storage.write(_lease_name(self._number), b"")

    def owner(self) -> Owner | None:
        return self._read(self._read_lease()[1])

    def _format_waiting(self, content: bytes, *, wait: bool) -> str:
        who = self._read(content) or "an unknown process (the lock is damaged)"
        limit = f"{self._lease:g} s without a sign of life"
        if wait:
            return f"waiting for the launch by {who} to end, or for {limit}"
        return f"checking whether the launch by {who} is still running: it is not after {limit}"

    def _read(self, content: bytes) -> Owner | None:
        return _read_owner(content, self._storage.path(_LOCK))

    def _read_lease(self) -> tuple[int, bytes]:
        """Return number and content of the lock: 0 without a lock, empty if it was released."""
        while True:
            number, name = self._highest()
            if name != _lease_name(number):
                return number, b""
            with suppress(FileNotFoundError):  # taken over this moment: list the files again
                return number, self._storage.read(name)

    def _create_lease(self, number: int) -> bool:
        if not self._storage.create(_lease_name(number), self._owner.to_bytes()):
            return False
        if self._highest()[0] != number:  # others took over and released it in the meantime
            self._storage.remove(_lease_name(number))
            return False
        self._number = number
        for other, name in self._files():
            if other < number:
                self._storage.remove(name)
        return True

    def _renew(self) -> None:
        """Renew the lease until it is released or lost; retry after a failed renewal."""
        while not self._done.wait(self._lease / _RENEWALS) and not self._lost.is_set():
            with suppress(StorageError):
                if self._highest()[0] > self._number:
                    self._lost.set()
                    return
                self._renewals += 1
                self._storage.write(_lease_name(self._number), self._owner.to_bytes(self._renewals))

    def _highest(self) -> tuple[int, str]:
        return max(self._files(), default=(0, ""))

    def _files(self) -> list[tuple[int, str]]:
        matches = ((name, _NUMBERED.fullmatch(name)) for name in self._storage.names(""))
        return [(int(match[1]), name) for name, match in matches if match]


def _build_lock(storage: Storage, lease: float) -> _FileLock | _Lease:
    return _FileLock(storage) if storage.is_local else _Lease(storage, lease)


def _format_refusal(storage: Storage, owner: Owner | None) -> str:
    who = f"{owner} with `{owner.command}`" if owner else "an unknown process"
    return (
        f"{storage.address} is being launched by {who}; wait until it ends, stop it, or give "
        "--wait to start when it has ended"
    )


def _read_owner(data: bytes, place: str) -> Owner | None:
    """Parse the content of a lock; None if it is damaged or released."""
    try:
        value = verify_json_checksum(data, place)
        return Owner(**{field.name: value[field.name] for field in fields(Owner)})
    except (LedgerError, KeyError):
        return None


def _lease_name(number: int) -> str:
    return f"launch-{number:06d}.lock"


def _read_user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container the user may have no name
        return f"user {os.getuid()}"
