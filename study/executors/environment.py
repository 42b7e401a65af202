"""Environment of worker processes, with private values kept in a file."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

MARK = "OLFACTION_PRIVATE"
"""The variable that names the file; processes without it read nothing."""
_NAME = ".private-environment.json"


def write_private_environment(folder: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Write values into a working directory; return the variables that lead to them."""
    if not values:
        return {}
    file = folder / _NAME
    file.touch(mode=0o600)
    file.write_text(json.dumps(dict(values)), encoding="utf-8")
    return {MARK: _NAME}


def load_private_environment() -> None:
    """Take the private variables of a submitted study into this process, if it is one.

    What the machine has set itself stays. The file is closed to others: Ray unpacks it open.
    """
    name = os.environ.get(MARK)
    if name is None or not Path(name).is_file():
        return
    file = Path(name)
    file.chmod(0o600)
    for key, value in json.loads(file.read_text(encoding="utf-8")).items():
        os.environ.setdefault(key, value)


_DEFAULTS = {
    "RAY_AUTH_MODE": "token",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # work runs in the folder of the launch, which relative paths of a study file start from
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # a lost worker is told once, by us, as the cause of its task
    "RAY_DEDUP_LOGS_SKIP_REGEX": "died or was killed|Task _attempt failed|Raylet is terminated"
    "|marked dead|lagging heartbeats|running low on memory",
    # a process for each group of workers; a loop that keeps every epoch needs no warning
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # seconds between two looks at the workers, and so the wait for one that has finished
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_USAGE_STATS_ENABLED": "0",
    # trials that wait for room: an autoscaler sees their wishes, and starts as many machines
    "TUNE_MAX_PENDING_TRIALS_PG": "200",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the driver saves and exits 130 itself
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_LONGEST = 500


def set_defaults() -> None:
    """Set Ray's variables where the user has not. Ray reads most of them when it is imported."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def set_environment() -> None:
    """Set Ray's variables, and the token of local clusters, where the user has not.

    With token mode asked for explicitly and no token at hand, Ray makes none and its control
    store never comes up: make one that lives as long as this process and its children.
    """
    set_defaults()
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if os.environ["RAY_AUTH_MODE"] == "token" and not file.exists():
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def keep_local() -> None:
    """Let the Ray of this process alone listen on loopback only; to be called before its import."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


def shorten_error(text: str) -> str:
    """Return the last line of an error text of Ray, which can fill pages: it tells why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_LONGEST] if lines else "no reason given"
