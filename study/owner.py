"""Who launches a study: what a lock tells the next launch, and whether that process still runs."""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import uuid
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from study.seals import LedgerError, seal_json, unseal_json

_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")
_DEAD = "ZX"
"""States of a process that has ended and was not yet waited for."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock.

    Attributes
    ----------
    token : str
        Random: tells two launches apart whatever else they share.
    user, host : str
    pid : int
    machine : str
        Boot and process namespace: where `pid` means this process. Empty if the system has none.
    begun : str
        Start time of the process, in ticks since the boot: a `pid` may be given again.
    since : str
        When the launch began by its own clock; for people only.
    command : str
        Command line, without passwords of URLs.
    lease : float
        Seconds without a new `beat` after which it counts as dead.
    beat : int
        Goes up while it lives.
    """

    token: str
    user: str
    host: str
    pid: int
    machine: str
    begun: str
    since: str
    command: str
    lease: float
    beat: int = 0

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid}, since {self.since})"

    def to_bytes(self) -> bytes:
        """Serialise with a checksum."""
        return seal_json(asdict(self))

    @property
    def alive(self) -> bool | None:
        """Whether its process runs; None if that cannot be seen from this machine."""
        if not self.machine or (self.host, self.machine) != (socket.gethostname(), _machine()):
            return None
        return _begun(self.pid) == self.begun


def read_owner(data: bytes, place: str) -> Owner | None:
    """Return what a lock file says; None if it is damaged."""
    try:
        return Owner(**unseal_json(data, place, [field.name for field in fields(Owner)]))
    except LedgerError:
        return None


def this_process(lease: float) -> Owner:
    """Return this process as the owner of a lock."""
    return Owner(
        token=uuid.uuid4().hex,
        user=_user(),
        host=socket.gethostname(),
        pid=os.getpid(),
        machine=_machine(),
        begun=_begun(os.getpid()),
        since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=_PASSWORD.sub("", " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        lease=lease,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


def _machine() -> str:
    """Return what tells a running system, and within it the container, from every other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux: another process is only known by its beats
        return ""


def _begun(pid: int) -> str:
    """Return the start time of a process that runs; empty if there is none."""
    try:
        # After the name, which may hold anything, in parentheses: state is field 3, start 22.
        fields_ = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields_[0] in _DEAD else fields_[19]
