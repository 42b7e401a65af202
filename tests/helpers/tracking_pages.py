"""A tracking store as its reader sees it."""

from __future__ import annotations

from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from study.tracking.mlflow_store import MLflowStore


class Pages:
    """What a reader of the store sees."""

    def __init__(self, tracker: MLflowStore | str) -> None:
        uri = tracker if isinstance(tracker, str) else tracker.uri
        self.client = MlflowClient(tracking_uri=uri)

    def runs(self, experiment: str, role: str) -> list[Run]:
        found = self.client.get_experiment_by_name(experiment)
        query = f"tags.`olfaction.role` = '{role}'"
        return list(self.client.search_runs([found.experiment_id], query, ViewType.ACTIVE_ONLY))

    def arms(self, experiment: str) -> dict[str, str]:
        """Run of every cell."""
        runs = self.runs(experiment, "cell")
        return {run.data.tags["olfaction.cell_id"]: run.info.run_id for run in runs}

    def shown(self, experiment: str) -> dict[str, object]:
        """Everything but identities and times."""
        told = {}
        for run in [*self.runs(experiment, "study"), *self.runs(experiment, "cell")]:
            other = ("mlflow.parentRunId", "olfaction.reference_run")
            tags = {k: v for k, v in run.data.tags.items() if k not in other}
            assert run.info.run_name not in told
            told[run.info.run_name] = (run.info.status, run.data.params, run.data.metrics, tags)
        return told

    def files(self, run: Run) -> set[str]:
        return {item.path for item in self.client.list_artifacts(run.info.run_id)}
