"""What MLflow reads from the environment and says. Does not import MLflow."""

from __future__ import annotations

import logging
import os

_DEFAULTS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own 7 retries of 120 s each would hold a launch for many minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def set_environment() -> None:
    """Set MLflow's variables where the user has not, and leave only its errors on the screen."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
