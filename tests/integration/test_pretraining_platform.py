"""A pretraining on Ray, with its page in MLflow; the same weights as without both."""

import json
from dataclasses import replace

import pytest

from study.errors import TrackingError
from study.executors.base import LocalExecutor
from study.pretraining.config import read_pretraining
from study.pretraining.run import prepare_pretraining, train_pretraining
from study.pretraining.workspace import read_history
from study.progress import ProgressCallback
from study.tracking.mlflow_store import WEIGHTS
from study.tracking.pages import build_weights_page

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

FILE = """
name: small
objective: masked_characters
modality: {modality: smiles, layers: 1, width: 8, heads: 2, feedforward: 8}
molecules: {file: TABLE}
held_out: 0.2
training: {epochs: 2, batch_size: 16}
run: {storage: STORE}
"""


@pytest.fixture
def pretrained(tmp_path):
    """Train in a storage of its own with this executor: -> card and folder."""

    def run(executor, name):
        table = tmp_path / "molecules.csv"
        table.write_text("smiles\n" + "".join(f"{'C' * i}O\n" for i in range(1, 21)))
        file = tmp_path / f"{name}.yaml"
        store = tmp_path / name
        file.write_text(FILE.replace("TABLE", str(table)).replace("STORE", str(store)))
        pretraining = prepare_pretraining(read_pretraining(str(file)))
        train_pretraining(pretraining, executor, ProgressCallback())
        return pretraining.card, pretraining.folders.home

    return run


def test_a_cluster_makes_the_same_weights(cluster, pretrained):
    there, folder = pretrained(cluster, "ray")
    here, _ = pretrained(LocalExecutor(), "inline")
    assert there == here
    assert not (folder / "scratch").exists()


def runs_of(tracker):
    client = tracker._client
    experiment = client.get_experiment_by_name(WEIGHTS)
    return client, client.search_runs([experiment.experiment_id])


def page_of(card, folder):
    return build_weights_page(card, folder, read_history(folder / "epochs.json"))


def test_a_page_shows_finished_weights_once(tracker, pretrained):
    card, folder = pretrained(LocalExecutor(), "inline")
    page = page_of(card, folder)
    assert [tracker.sync_weights(page) for _ in range(2)] == [True, False]
    client, (run,) = runs_of(tracker)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "small")
    assert run.data.params["modality.width"] == "8"
    assert run.data.params["data.sha256"] == card.data["sha256"]
    assert run.data.tags["weights_sha256"] == card.sha256
    epochs = json.loads((folder / "epochs.json").read_text())
    history = client.get_metric_history(run.info.run_id, "token_accuracy")
    assert {m.step: m.value for m in history} == {e["epoch"]: e["token_accuracy"] for e in epochs}
    assert {a.path for a in client.list_artifacts(run.info.run_id)} == {"card.json", "epochs.json"}


def test_other_weights_of_that_name_or_half_a_page_are_replaced(tracker, pretrained):
    card, folder = pretrained(LocalExecutor(), "inline")
    page = page_of(card, folder)
    tracker.sync_weights(replace(page, state="old"))
    assert tracker.sync_weights(page)
    client, (run,) = runs_of(tracker)
    assert run.data.tags["olfaction.state"] == page.state
    client.set_terminated(run.info.run_id, "KILLED")
    assert tracker.sync_weights(page)
    assert [run.info.status for run in runs_of(tracker)[1]] == ["FINISHED"]


def test_a_store_that_breaks_down_is_named_and_nothing_is_lost(tracker, pretrained, tmp_path):
    card, folder = pretrained(LocalExecutor(), "inline")
    gone = replace(page_of(card, folder), files=(tmp_path / "gone",))
    with pytest.raises(TrackingError, match="weights are in their folder, and the same command"):
        tracker.sync_weights(gone)
    assert tracker.sync_weights(page_of(card, folder))
    assert len(runs_of(tracker)[1]) == 1
