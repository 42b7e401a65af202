"""Runs of a study in MLflow; the only module that imports MLflow."""

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
from study.results.study_results import StudyResults
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


_BATCH = 800  # MLflow takes 1000 values a call, parameters and tags included


class MLflowStore:
    """Writes a study's pages; only the driver has one.

    Parameters
    ----------
    uri : str
        Tracking server or database, for example ``sqlite:////data/mlflow.db``.
    artifacts : str
        Where a new experiment of a database keeps its files; a server decides for itself.

    Attributes
    ----------
    uri : str
        Without passwords and tokens, to be shown.

    Raises
    ------
    InputError
        The tracking store does not answer. A server that takes its time is no error.
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
                "give another with 'run.tracking' or --tracking-uri, or --no-mlflow"
            ) from error

    def sync(self, record: StudyResults, *, final: bool = True) -> int:
        """Bring the pages of a study up to its record; return how many arms were written.

        Parameters
        ----------
        record : StudyResults
        final : bool
            False while the study runs: only complete arms are written and the parent goes on.

        Raises
        ------
        TrackingError
            The store broke down; nothing is lost, projecting again makes up for it.
        """
        return len(list(self.steps(record, SyncStage.ENDED if final else SyncStage.RUNNING)))

    def steps(
        self, record: StudyResults, stage: SyncStage, progress: Progress | None = None
    ) -> Generator[str]:
        """Do as `sync` does, and yield the name of each arm after its page was written."""
        with self._told():
            yield from sync_runs(self, record, stage, progress)

    def clear(self, record: StudyResults) -> None:
        """Remove every page of a study's version: all are written anew (else as `sync`)."""
        with self._told():
            clear_runs(self, record)

    def pretraining(self, page: WeightsPage) -> bool:
        """Bring the page of finished weights up; return whether it was written (else as `sync`)."""
        with self._told():
            return sync_weights_page(self, page)

    def report(self, record: StudyResults, folder: Path) -> None:
        """Keep a report on the page of its study; InputError if it has none (else as `sync`)."""
        with self._told():
            store_report(self, record, folder)

    def pool(self, name: str, version: str | None = None) -> ScorePool:
        """Read every trial of a study's version back; InputError if not shown (else as `sync`)."""
        with self._told():
            return read_pool(self, name, version)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            why = redact(str(error)).partition("\n")[0]  # without the statement of a database
            raise TrackingError(
                f"the tracking store '{self.uri}' broke down ({why}); every "
                "result is in the ledger, weights in their folder, and the same command or "
                "`study sync` writes the pages again"
            ) from error

    # What `study.tracking.sync.Store` asks for.

    def find(self, name: str) -> str | None:
        """Find an experiment."""
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id) if found is not None else None

    def shelf(self, name: str) -> str:
        """Find, restore or make an experiment."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            location = None if self._served else f"{self._artifacts}/{name}"
            return str(self._client.create_experiment(name, location))
        if found.lifecycle_stage == "deleted":  # its name stays taken
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def shown(self, shelf: str) -> list[StoredRun]:
        """Return the runs of ours in an experiment, the oldest first."""
        runs, token = [], None
        while token != "":
            found = self._client.search_runs(
                [shelf],
                f"tags.`{ROLE}` LIKE '%'",
                ViewType.ACTIVE_ONLY,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += list(found)
            token = found.token or ""
        return [_shown(run) for run in runs]

    def open(self, shelf: str, name: str, tags: Mapping[str, str]) -> StoredRun:
        """Begin a run."""
        return _shown(self._client.create_run(shelf, tags=dict(tags), run_name=name))

    def write(self, shelf: str, page: RunPage) -> StoredRun:
        """Write a run whole: its tags, its values, its files, its status."""
        begun = self.open(shelf, page.name, page.tags)
        self._log(begun, page.metrics, page.params)
        with tempfile.TemporaryDirectory() as folder:
            page.files(Path(folder))
            self.keep(begun, Path(folder))
        status = "FINISHED" if page.complete else "FAILED"
        self.close(begun, status)
        return replace(begun, status=status, metrics={name: v for name, v, _ in page.metrics})

    def mend(self, page: StoredRun, tags: Mapping[str, str], metrics: Metrics) -> None:
        """Log the tags and metrics that differ, in one call."""
        texts = {key: text for key, text in tags.items() if page.tags.get(key) != text}
        values = [(k, v, 0) for k, v in metrics.items() if page.metrics.get(k) != v]
        if texts or values:
            self._log(page, values, tags=texts)

    def name_data(self, page: StoredRun, record: StudyResults) -> None:
        """Name the data set of a study on its run."""
        digest = record.data.dataset.digest[:36]
        if digest not in page.data:
            recipe = redact(record.spec.data.model_dump_json())
            entity = Dataset(record.data.dataset.name, digest, "study-recipe", recipe)
            tag = InputTag("mlflow.data.context", "training")
            self._client.log_inputs(page.id, [DatasetInput(entity, [tag])])

    def keep(self, page: StoredRun, folder: Path, where: str | None = None) -> None:
        """Log the files of a folder."""
        get_artifact_repository(page.files, self._uri).log_artifacts(  # type: ignore[no-untyped-call]
            str(folder), where
        )

    def fetch(self, page: StoredRun, name: str, folder: Path) -> Path:
        """Download an artifact."""
        return Path(self._client.download_artifacts(page.id, name, str(folder)))

    def close(self, page: StoredRun, status: str) -> None:
        """Set the status of a run, with the time unless it goes on."""
        if status == "RUNNING":
            self._client.update_run(page.id, status)
        else:
            self._client.set_terminated(page.id, status, _now(page))

    def remove(self, page: StoredRun) -> None:
        """Delete a run."""
        self._client.delete_run(page.id)

    def _log(
        self,
        page: StoredRun,
        values: Sequence[Value],
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log values ``(metric, value, step)``, parameters and tags in few calls."""
        metrics = [Metric(name, value, _now(page), step) for name, value, step in values]
        texts = [Param(key, value) for key, value in (params or {}).items()]
        marks = [RunTag(key, value) for key, value in (tags or {}).items()]
        self._client.log_batch(page.id, metrics[:_BATCH], texts, marks)
        for at in range(_BATCH, len(metrics), _BATCH):
            self._client.log_batch(page.id, metrics[at : at + _BATCH])


def _shown(run: Run) -> StoredRun:
    data = run.inputs.dataset_inputs if run.inputs else []
    return StoredRun(
        id=str(run.info.run_id),
        status=str(run.info.status),
        tags=run.data.tags,
        metrics=run.data.metrics,
        ended=run.info.end_time or 0,
        data=frozenset(str(each.dataset.digest) for each in data),
        files=str(run.info.artifact_uri),
    )


def _now(page: StoredRun) -> int:
    """Return the time in ms: later than all that a page shows, also where a clock was set back.

    Of two values of one metric MLflow shows the later one, and the larger one of the same time.
    """
    return max(int(time.time() * 1000), page.ended + 1)


__all__ = ["WEIGHTS", "MLflowStore"]
