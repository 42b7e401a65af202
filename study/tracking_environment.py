"""What MLflow reads from the environment and says. Does not import MLflow."""

from __future__ import annotations

import logging
import os

_DEFAULTS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own 7 retries of 120 s each would hold the last page for many minutes; the
    # projector tries again by itself. Half a minute a call is slow, not dead.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "45",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a call more, and the URL with its secrets
}


def set_environment() -> None:
    """Set MLflow's variables where the user has not, and leave only its errors on the screen."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
