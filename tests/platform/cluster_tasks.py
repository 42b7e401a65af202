"""Small tasks by name, as workers import them: what can go wrong in a process, and what leaks."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Mapping
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


def exit_politely(payload: Payload) -> dict[str, Any]:
    sys.exit(4)


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
