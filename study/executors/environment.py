"""Environment variables of Ray and of worker processes; private values are passed in a file."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

MARK = "OLFACTION_PRIVATE"
"""Environment variable with the name of the file; processes without it read no file."""
_NAME = ".private-environment.json"


def write_private_environment(folder: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Write variables to a file in a working directory; return the variable that names the file."""
    if not values:
        return {}
    file = folder / _NAME
    file.touch(mode=0o600)
    file.write_text(json.dumps(dict(values)), encoding="utf-8")
    return {MARK: _NAME}


def load_private_environment() -> None:
    """Load the private variables of a submitted study, if this process belongs to one.

    Variables that the machine has set are kept. The file is made readable by its owner only, since
    Ray unpacks it readable by all.
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
    # relative paths of a study file start from the folder of the launch
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # we report a lost worker, once, as the cause of its task
    "RAY_DEDUP_LOGS_SKIP_REGEX": "died or was killed|Task _attempt failed|Raylet is terminated"
    "|marked dead|lagging heartbeats|running low on memory",
    # would cost a process per worker group; training saves every epoch and needs no warning
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # seconds between two checks of the workers, and so the delay after one has finished
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_USAGE_STATS_ENABLED": "0",
    # pending trials, whose resource requests make an autoscaler start machines
    "TUNE_MAX_PENDING_TRIALS_PG": "200",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the driver saves and exits 130 itself
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_LONGEST = 500


def set_defaults() -> None:
    """Set Ray's variables that the user has not set. Ray reads most of them on import."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def set_environment() -> None:
    """Set Ray's variables, and the token of local clusters, that the user has not set.

    If token mode is set explicitly and there is no token, Ray does not create one and its control
    store never starts. The token made here lives as long as this process and its children.
    """
    set_defaults()
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if os.environ["RAY_AUTH_MODE"] == "token" and not file.exists():
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def keep_local() -> None:
    """Restrict a local Ray to the loopback interface; must be called before Ray is imported."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


def shorten_error(text: str) -> str:
    """Return the last line of an error text of Ray, which can fill pages: it names the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_LONGEST] if lines else "no reason given"
