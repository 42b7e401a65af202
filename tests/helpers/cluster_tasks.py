"""Small tasks by name, as workers import them: what can go wrong in a process, and what leaks."""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Payload = Mapping[str, Any]
SEEN: list[int] = []


def echo(payload: Payload) -> dict[str, Any]:
    return {"n": payload["n"]}


def refuse(payload: Payload) -> dict[str, Any]:
    raise ValueError(f"cannot do {payload['n']}")


def refuse_unpicklably(payload: Payload) -> dict[str, Any]:
    class LocalError(Exception):
        def __reduce__(self) -> str:
            raise TypeError("not picklable")

    raise LocalError("made inside a function")


def leave(payload: Payload) -> dict[str, Any]:
    os._exit(3)


def killed(payload: Payload) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def log_level(payload: Payload) -> dict[str, Any]:
    """Tell from which level on the packages log here."""
    logger = logging.getLogger("study")
    level = logging.getLevelName(logger.getEffectiveLevel())
    return {"level": level, "handlers": len(logger.handlers)}


def exit_politely(payload: Payload) -> dict[str, Any]:
    sys.exit(4)


def rest(payload: Payload) -> dict[str, Any]:
    """Take a while; note how often this was begun."""
    if "mark" in payload:
        _note(payload["mark"], "x")
    time.sleep(payload["seconds"])
    return {}


def where(payload: Payload) -> dict[str, Any]:
    """Tell on which machine this ran, and when; wait until so many of its kind have begun."""
    began = time.time()
    if "met" in payload:
        folder = Path(payload["met"])
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 120
        while len(list(folder.iterdir())) < payload["others"] and time.monotonic() < deadline:
            time.sleep(0.05)
    time.sleep(payload["seconds"])
    return {"where": os.environ["WHERE"], "began": began, "ended": time.time()}


def stuck(payload: Payload) -> dict[str, Any]:
    """Hang in native code that keeps Python's lock: no other thread of Python runs."""
    _note(payload["mark"], "x")
    ctypes.PyDLL(None).sleep(1000)
    return {}


def hog(payload: Payload) -> dict[str, Any]:
    """Take more and more memory."""
    taken = []
    for _ in range(payload["megabytes"] // 100):
        taken.append(bytearray(os.urandom(1) * 100_000_000))
        time.sleep(0.05)
    time.sleep(payload.get("seconds", 0))
    return {"taken": len(taken)}


def not_plain(payload: Payload) -> dict[str, Any]:
    return {"value": object()}


def soil(payload: Payload) -> dict[str, Any]:
    """Leave everything changed that a careless task could change."""
    import numpy as np
    import torch

    random.seed(payload["n"])
    np.random.seed(payload["n"])  # noqa: NPY002 (the careless act itself)
    torch.manual_seed(payload["n"])
    torch.set_num_threads(2)
    return {"pid": os.getpid()}


def add_ranks(payload: Payload) -> dict[str, Any]:
    """Every worker adds its number to what the others know; the last of two may refuse to."""
    from study.training.distributed import current_process_group

    ranks = current_process_group()
    if ranks.rank == 1 and "mark" in payload:
        _note(payload["mark"], "x")
        raise ValueError("worker 1 cannot do it")
    value = {"sum": ranks.total([ranks.rank + 1.0])[0], "rank": ranks.rank, "size": ranks.size}
    return {**value, "folder": str(Path.cwd())}


def encode_killed_once(payload: Payload) -> dict[str, Any]:
    """Run an encoder job; its second worker is killed after the first epoch that was kept."""
    from torch import distributed

    from study.training import tasks
    from study.training.distributed import current_process_group

    if current_process_group().rank == 1:
        checkpoints = Path(payload["checkpoints"])
        found = any(checkpoints.glob("*.checkpoint"))
        if _note(payload["mark"], "goes on" if found else "begins") == 1:
            threading.Thread(target=_die_after_an_epoch, args=(checkpoints,), daemon=True).start()
    tasks.encode(payload)
    return {
        "size": current_process_group().size,
        "backend": distributed.get_backend(),
        "folder": str(Path.cwd()),
    }


def _note(mark: str, text: str) -> int:
    """Add a line to a file and return how many it has."""
    with Path(mark).open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    return len(Path(mark).read_text(encoding="utf-8").splitlines())


def _die_after_an_epoch(checkpoints: Path) -> None:
    while not any(checkpoints.glob("*.checkpoint")):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)
