"""Tracking store in MLflow; the only module that imports MLflow."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from study.analysis.arm_scores import ScorePool
from study.config.redaction import redact, usable
from study.errors import InputError, TrackingError
from study.network import check_answers, check_reachable
from study.progress import Progress
from study.results.study_results import ResultSnapshot
from study.tracking.pages import ROLE, Metrics, RunPage, StoredRun, Value, WeightsPage
from study.tracking.sync import (
    WEIGHTS,
    SyncStage,
    clear_runs,
    read_pool,
    store_report,
    sync_runs,
    sync_weights_page,
)

_DEFAULTS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's default of 7 retries of 120 s each would delay the last page for many minutes, and
    # `BackgroundSync` retries by itself. A call that takes half a minute is slow, not dead.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "45",
    # Printing the URL takes another call and would reveal secrets in the URL.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def set_environment() -> None:
    """Set defaults for MLflow's environment variables, and show only errors of its loggers."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)


_BATCH = 800  # MLflow accepts 1000 values per call, parameters and tags included


class MLflowStore:
    """Experiments and runs of studies in MLflow; only the driver opens one.

    Parameters
    ----------
    uri : str
        Tracking server or database, for example ``sqlite:////data/mlflow.db``.
    artifacts : str
        Artifact folder for new experiments of a database; a server chooses its own.

    Attributes
    ----------
    uri : str
        Address without passwords and tokens, for messages.

    Raises
    ------
    InputError
        The tracking store does not answer. A slow server is no error.
    """

    def __init__(self, uri: str, artifacts: str) -> None:
        set_environment()
        self.uri, self._uri, self._artifacts = redact(uri), usable(uri), artifacts
        self._served = uri.startswith("http")
        try:
            check_reachable(self._uri)
            self._client = MlflowClient(tracking_uri=self._uri)
            check_answers(
                lambda: self._client.search_experiments(max_results=1), wait=not self._served
            )
        except (MlflowException, SQLAlchemyError, OSError, ValueError, ImportError) as error:
            raise InputError(
                f"tracking store '{self.uri}' does not answer ({redact(str(error))}); "
                "set another one with 'run.tracking' or --tracking-uri, or use --no-mlflow"
            ) from error

    def sync(self, results: ResultSnapshot, *, final: bool = True) -> int:
        """Update the runs of a study from its results; return the number of arms written.

        Parameters
        ----------
        results : ResultSnapshot
        final : bool
            False while the study runs: only complete arms are written, and the study's run stays
            open.

        Raises
        ------
        TrackingError
            The store failed. Nothing is lost: the next synchronization writes the rest.
        """
        return len(
            list(self.sync_stepwise(results, SyncStage.ENDED if final else SyncStage.RUNNING))
        )

    def sync_stepwise(
        self, results: ResultSnapshot, stage: SyncStage, progress: Progress | None = None
    ) -> Generator[str]:
        """Like `sync`, but yield the name of each arm after its run was written."""
        with self._translate_errors():
            yield from sync_runs(self, results, stage, progress)

    def clear(self, results: ResultSnapshot) -> None:
        """Delete every run of a study's version, so that all are written again.

        Errors are those of `sync`.
        """
        with self._translate_errors():
            clear_runs(self, results)

    def sync_weights(self, page: WeightsPage) -> bool:
        """Update the run of pretrained weights; return whether it was written.

        Errors are those of `sync`.
        """
        with self._translate_errors():
            return sync_weights_page(self, page)

    def store_report(self, results: ResultSnapshot, folder: Path) -> None:
        """Log a report to the run of its study.

        Raises InputError if the study has no run; other errors are those of `sync`.
        """
        with self._translate_errors():
            store_report(self, results, folder)

    def read_pool(self, name: str, version: str | None = None) -> ScorePool:
        """Read every trial of a version of a study back.

        Raises InputError if the store does not have it; other errors are those of `sync`.
        """
        with self._translate_errors():
            return read_pool(self, name, version)

    def find_pages(self, name: str) -> str | None:
        """Return the id of the experiment of a study; None if it has no runs of this program.

        Errors are those of `sync`.
        """
        with self._translate_errors():
            experiment = self.find_experiment(name)
            return experiment if experiment and self.list_runs(experiment) else None

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            why = redact(str(error)).partition("\n")[0]  # without the SQL statement
            raise TrackingError(
                f"the tracking store '{self.uri}' failed ({why}); every result is in the ledger, "
                "weights are in their folder, and the same command or `study sync` writes the "
                "pages again"
            ) from error

    # Methods of `study.tracking.sync.RunStore`.

    def find_experiment(self, name: str) -> str | None:
        """Return the id of an experiment; None if it does not exist."""
        experiment = self._client.get_experiment_by_name(name)
        return str(experiment.experiment_id) if experiment is not None else None

    def open_experiment(self, name: str) -> str:
        """Return the id of an experiment; create it, or restore it if it was deleted."""
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            location = None if self._served else f"{self._artifacts}/{name}"
            return str(self._client.create_experiment(name, location))
        if experiment.lifecycle_stage == "deleted":  # its name cannot be used for a new one
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def list_runs(self, experiment: str) -> list[StoredRun]:
        """Return the runs in an experiment that this program wrote, the oldest first."""
        runs, token = [], None
        while token != "":
            page = self._client.search_runs(
                [experiment],
                f"tags.`{ROLE}` LIKE '%'",
                ViewType.ACTIVE_ONLY,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += list(page)
            token = page.token or ""
        return [_to_stored_run(run) for run in runs]

    def create_run(self, experiment: str, name: str, tags: Mapping[str, str]) -> StoredRun:
        """Create a run."""
        return _to_stored_run(self._client.create_run(experiment, tags=dict(tags), run_name=name))

    def write_run(self, experiment: str, page: RunPage) -> StoredRun:
        """Create a run with all its tags, metrics, parameters and files, and close it."""
        run = self.create_run(experiment, page.name, page.tags)
        self._log(run, page.metrics, page.params)
        with tempfile.TemporaryDirectory() as folder:
            page.files(Path(folder))
            self.log_files(run, Path(folder))
        status = "FINISHED" if page.complete else "FAILED"
        self.set_status(run, status)
        return replace(run, status=status, metrics={name: v for name, v, _ in page.metrics})

    def update_run(self, run: StoredRun, tags: Mapping[str, str], metrics: Metrics) -> None:
        """Log the tags and metrics that differ from the stored ones, in one call."""
        texts = {key: text for key, text in tags.items() if run.tags.get(key) != text}
        values = [(k, v, 0) for k, v in metrics.items() if run.metrics.get(k) != v]
        if texts or values:
            self._log(run, values, tags=texts)

    def log_dataset(self, run: StoredRun, results: ResultSnapshot) -> None:
        """Log the data set of a study as input of its run, unless it is logged already."""
        digest = results.data.dataset.digest[:36]
        if digest not in run.data:
            recipe = redact(results.spec.data.model_dump_json())
            entity = Dataset(results.data.dataset.name, digest, "study-recipe", recipe)
            tag = InputTag("mlflow.data.context", "training")
            self._client.log_inputs(run.id, [DatasetInput(entity, [tag])])

    def log_files(self, run: StoredRun, folder: Path, subfolder: str | None = None) -> None:
        """Log the files of a folder as artifacts."""
        get_artifact_repository(run.files, self._uri).log_artifacts(  # type: ignore[no-untyped-call]
            str(folder), subfolder
        )

    def download_artifact(self, run: StoredRun, name: str, folder: Path) -> Path:
        """Download an artifact."""
        return Path(self._client.download_artifacts(run.id, name, str(folder)))

    def set_status(self, run: StoredRun, status: str) -> None:
        """Set the status of a run, and its end time unless the run continues."""
        if status == "RUNNING":
            self._client.update_run(run.id, status)
        else:
            self._client.set_terminated(run.id, status, _now(run))

    def delete_run(self, run: StoredRun) -> None:
        """Delete a run."""
        self._client.delete_run(run.id)

    def _log(
        self,
        run: StoredRun,
        values: Sequence[Value],
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log values ``(metric, value, step)``, parameters and tags in as few calls as possible."""
        metric_entities = [Metric(name, value, _now(run), step) for name, value, step in values]
        param_entities = [Param(key, value) for key, value in (params or {}).items()]
        run_tags = [RunTag(key, value) for key, value in (tags or {}).items()]
        self._client.log_batch(run.id, metric_entities[:_BATCH], param_entities, run_tags)
        for start in range(_BATCH, len(metric_entities), _BATCH):
            self._client.log_batch(run.id, metric_entities[start : start + _BATCH])


def _to_stored_run(run: Run) -> StoredRun:
    data = run.inputs.dataset_inputs if run.inputs else []
    return StoredRun(
        id=str(run.info.run_id),
        status=str(run.info.status),
        tags=run.data.tags,
        metrics=run.data.metrics,
        ended=run.info.end_time or 0,
        data=frozenset(str(logged.dataset.digest) for logged in data),
        files=str(run.info.artifact_uri),
    )


def _now(run: StoredRun) -> int:
    """Return a time in ms that is later than the run's end, even if the clock was set back.

    MLflow shows the latest value of a metric, and of values with the same time the largest.
    """
    return max(int(time.time() * 1000), run.ended + 1)


__all__ = ["WEIGHTS", "MLflowStore"]
