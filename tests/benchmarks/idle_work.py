"""Trials that do nothing, as workers import them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any


def nothing(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return at once."""
    return {"n": payload["n"]}


def wait(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return after as many seconds as asked for."""
    time.sleep(payload["seconds"])
    return {"n": payload["n"]}
