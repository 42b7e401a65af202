"""The only file that imports MLflow: pages of a study, a projection of the ledger.

An experiment is a study, its parent run the study as a whole, a child run one cell. Projecting
again changes nothing; a cell whose results changed gets a new child run in place of the old.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from study.analysis.comparison import Compared, compare
from study.analysis.pool import Pool, pool_of, pool_of_pages
from study.analysis.summary import CellSummary
from study.answering import knock
from study.errors import InputError, PagesError
from study.ledger import unseal
from study.record import StudyRecord
from study.report import pages
from study.report.weights_page import WeightsPage
from study.result import TrialResult
from study.spec import StudySpec
from study.splits import Split
from study.tracking_environment import set_environment

_T = TypeVar("_T")
_PARENT = "mlflow.parentRunId"
_CELL = "olfaction.cell_id"
_STATE = "olfaction.state"
_ROLE = "olfaction.role"
_NAME = "olfaction.weights"
WEIGHTS = "weights"
"""Experiment of all pretrainings of a store; no study has this name."""
_BATCH = 800  # MLflow takes 1000 values a call, parameters and tags included


class Tracker:
    """Writes a study's pages; only the driver has one.

    Parameters
    ----------
    uri : str
        Tracking server or database, for example ``sqlite:////data/mlflow.db``.
    artifacts : str
        Where a new experiment of a database keeps its files; a server decides for itself.

    Raises
    ------
    InputError
        The tracking store does not answer.
    """

    def __init__(self, uri: str, artifacts: str) -> None:
        set_environment()
        self.uri, self._artifacts = uri, artifacts
        try:
            knock(uri)
            self._client = MlflowClient(tracking_uri=uri)
            self._client.search_experiments(max_results=1)
        except (MlflowException, OSError, ValueError, ImportError) as error:
            raise InputError(
                f"tracking store '{uri}' does not answer ({error}); "
                "give another with 'run.tracking' or --tracking-uri, or --no-mlflow"
            ) from error

    def sync(self, record: StudyRecord, *, final: bool = True) -> int:
        """Bring the pages of a study up to its record; return how many cells were written.

        Parameters
        ----------
        record : StudyRecord
        final : bool
            False while the study runs: only complete cells are written and the parent goes on.

        Raises
        ------
        PagesError
            The store broke down; nothing is lost, projecting again makes up for it.
        """
        return self._told(lambda: self._sync(record, final=final))

    def pretraining(self, page: WeightsPage) -> bool:
        """Bring the page of finished weights up; return whether it was written (else as `sync`)."""
        return self._told(lambda: self._weights(page))

    def _told(self, write: Callable[[], _T]) -> _T:
        try:
            return write()
        except (MlflowException, OSError) as error:
            raise PagesError(
                f"the pages could not be written to '{self.uri}' ({error}); every result is in "
                "the ledger, weights in their folder, and the same command writes the pages again"
            ) from error

    def _sync(self, record: StudyRecord, *, final: bool) -> int:
        experiment = self._experiment(record.spec.name)
        parent = self._parent(experiment, record)
        known = self._children(experiment, parent)
        written = 0
        for summary in record.summaries:
            if not final and not pages.is_complete(summary, record):
                continue
            written += self._cell(experiment, parent, summary, record, known)
        compared = compare([pool_of(record)]) if final else []
        if final:
            self._forget(known, {summary.cell.id for summary in record.summaries})
            self._judge(experiment, parent, compared)
        self._close_parent(parent, record, compared)
        return written

    def _judge(self, experiment: str, parent: str, compared: Sequence[Compared]) -> None:
        """Say on every cell's page what its gain is worth, and link its reference's page."""
        children = self._children(experiment, parent)
        runs = {cell: str(run.info.run_id) for cell, run in children.items()}
        for each in compared:
            tags, metrics = pages.verdict_page(each, runs)
            run = children[each.summary.cell.id]
            known = {**run.data.tags, **run.data.metrics}
            if any(known.get(key) != value for key, value in {**tags, **metrics}.items()):
                values = [Metric(name, value, 0, 0) for name, value in metrics.items()]
                marks = [RunTag(name, value) for name, value in tags.items()]
                self._client.log_batch(run.info.run_id, metrics=values, tags=marks)

    def report(self, name: str, folder: Path) -> None:
        """Keep a report on the page of its study.

        Raises
        ------
        InputError
            The store has no page of this study.
        PagesError
            The store broke down.
        """
        experiment = self._client.get_experiment_by_name(name)
        query = f"tags.`{_ROLE}` = 'study'"
        found = self._runs(experiment.experiment_id, query) if experiment is not None else []
        if not found:
            raise InputError(f"tracking store '{self.uri}' has no page of study '{name}'")
        run_id = found[0].info.run_id
        self._told(lambda: self._client.log_artifacts(run_id, str(folder), "report"))

    def _weights(self, page: WeightsPage) -> bool:
        experiment = self._experiment(WEIGHTS)
        runs = self._runs(experiment, f"tags.`{_NAME}` = '{page.name}'")
        if any((r.data.tags[_STATE], r.info.status) == (page.state, "FINISHED") for r in runs):
            return False
        for old in runs:  # other weights of that name, or a page that was cut short
            self._client.delete_run(old.info.run_id)
        tags = {_ROLE: "weights", _NAME: page.name, _STATE: page.state, **page.tags}
        run_id = str(self._client.create_run(experiment, tags=tags, run_name=page.name).info.run_id)
        self._log(run_id, page.metrics, page.params)
        for file in page.files:
            self._client.log_artifact(run_id, str(file))
        self._client.set_terminated(run_id, "FINISHED")
        return True

    def pool(self, name: str) -> Pool:
        """Read every trial of an experiment back from its artifacts.

        Raises
        ------
        InputError
            There is no such experiment, or it shows no study.
        """
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            raise InputError(f"tracking store '{self.uri}' has no experiment '{name}'")
        parents = self._runs(experiment.experiment_id, f"tags.`{_ROLE}` = 'study'")
        if not parents:
            raise InputError(f"experiment '{name}' of '{self.uri}' shows no study; launch it again")
        cells = self._runs(experiment.experiment_id, f"tags.`{_ROLE}` = 'cell'")
        results = [result for run in cells for result in self._stored(run)]
        with tempfile.TemporaryDirectory() as folder:
            split, file = (
                Path(self._client.download_artifacts(parents[0].info.run_id, name, folder))
                for name in ("split.json", "study.json")
            )
            spec = StudySpec.model_validate_json(file.read_bytes())
            return pool_of_pages(spec, results, Split.load(split))

    def _stored(self, run: Run) -> Iterator[TrialResult]:
        with tempfile.TemporaryDirectory() as folder:
            path = self._client.download_artifacts(run.info.run_id, "trials", folder)
            for file in sorted(Path(path).glob("*.trial")):
                yield TrialResult.from_bytes(unseal(file.read_bytes(), file.name))

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":  # its name stays taken
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        served = self.uri.startswith("http")  # a server knows where its files go
        location = None if served else f"{self._artifacts}/{name}"
        return str(self._client.create_experiment(name, location))

    def _runs(self, experiment: str, query: str) -> list[Run]:
        runs, token = [], None
        while True:
            page = self._client.search_runs(
                [experiment],
                query,
                ViewType.ACTIVE_ONLY,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += list(page)
            token = page.token
            if not token:
                return runs

    def _parent(self, experiment: str, record: StudyRecord) -> str:
        """Find or make the parent run; it names the data set."""
        found = self._runs(experiment, f"tags.`{_ROLE}` = 'study'")
        if found:
            parent = found[0]
        else:
            tags = {_ROLE: "study", "mlflow.note.content": record.spec.description}
            parent = self._client.create_run(experiment, tags=tags, run_name=record.spec.name)
        run_id = str(parent.info.run_id)
        digest = record.inputs.dataset.digest[:36]
        known = parent.inputs.dataset_inputs if parent.inputs else []
        if digest not in [each.dataset.digest for each in known]:
            recipe = record.spec.data.model_dump_json()
            entity = Dataset(record.inputs.dataset.name, digest, "study-recipe", recipe)
            tag = InputTag("mlflow.data.context", "training")
            self._client.log_inputs(run_id, [DatasetInput(entity, [tag])])
        return run_id

    def _forget(self, known: Mapping[str, Run], cells: set[str]) -> None:
        """Remove the runs of cells that the study file has no more."""
        for cell_id in known.keys() - cells:
            self._client.delete_run(known[cell_id].info.run_id)

    def _children(self, experiment: str, parent: str) -> dict[str, Run]:
        runs = self._runs(experiment, f"tags.`{_PARENT}` = '{parent}'")
        return {run.data.tags[_CELL]: run for run in runs if _CELL in run.data.tags}

    def _cell(
        self,
        experiment: str,
        parent: str,
        summary: CellSummary,
        record: StudyRecord,
        known: Mapping[str, Run],
    ) -> int:
        """Write one child run unless it already shows this state."""
        results = record.results_of(summary.cell)
        state = pages.cell_state(summary, results, record)
        old = known.get(summary.cell.id)
        if old is not None:
            if old.data.tags.get(_STATE) == state and old.info.status != "RUNNING":
                return 0
            self._client.delete_run(old.info.run_id)
        tags = {_PARENT: parent, _ROLE: "cell", _CELL: summary.cell.id, _STATE: state}
        tags |= pages.cell_tags(summary, record)
        run = self._client.create_run(experiment, tags=tags, run_name=str(summary.cell))
        self._fill(str(run.info.run_id), summary, results, record)
        return 1

    def _fill(
        self, run_id: str, summary: CellSummary, results: list[TrialResult], record: StudyRecord
    ) -> None:
        values = [(name, value, 0) for name, value in pages.cell_metrics(summary, results).items()]
        values += pages.fold_metrics(results)
        self._log(run_id, values, pages.cell_params(summary.cell))
        with tempfile.TemporaryDirectory() as folder:
            pages.write_cell(Path(folder), results, record)
            self._client.log_artifacts(run_id, folder)
        self._client.set_terminated(run_id, "FINISHED" if summary.missing == 0 else "FAILED")

    def _log(
        self, run_id: str, values: Sequence[tuple[str, float, int]], params: Mapping[str, str]
    ) -> None:
        """Log parameters and values ``(metric, value, step)`` in few calls."""
        metrics = [Metric(name, value, 0, step) for name, value, step in values]
        texts = [Param(key, value) for key, value in params.items()]
        self._client.log_batch(run_id, metrics=metrics[:_BATCH], params=texts)
        for at in range(_BATCH, len(metrics), _BATCH):
            self._client.log_batch(run_id, metrics=metrics[at : at + _BATCH])

    def _close_parent(self, parent: str, record: StudyRecord, compared: Sequence[Compared]) -> None:
        """Log how far the study is; at its end the comparison and the headline, and close it."""
        done = len(record.results)
        counts = {"trials_finished": done, "trials_missing": record.missing}
        tags = [RunTag(f"olfaction.{name}", str(value)) for name, value in counts.items()]
        metrics = [Metric(*each, 0, 0) for each in pages.headline(compared).items()]
        self._client.log_batch(parent, tags=tags, metrics=metrics)
        with tempfile.TemporaryDirectory() as folder:
            pages.write_study(Path(folder), record, compared)
            self._client.log_artifacts(parent, folder)
        if compared:
            self._client.set_terminated(parent, "FINISHED" if record.missing == 0 else "FAILED")
