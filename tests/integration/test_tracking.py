"""The pages of a study in a real SQLite store, against the ledger they are made from."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from tracking_pages import Pages

from study.analysis.arm_scores import build_score_pool
from study.analysis.comparison import compare_arms
from study.errors import InputError
from study.reporting.tables import build_comparison_frame
from study.results.study_results import ResultSnapshot, load_snapshot
from study.results.trial_result import TrialResult
from study.runner.sync import sync_study
from study.storage.lock import LockedError, StudyLock
from study.storage.storage import Storage
from study.tracking.mlflow_store import MLflowStore
from study.tracking.pages import build_arm_params, build_headline_metrics

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

CELLS, FOLDS = 5, 2


def told(tracker: MLflowStore, name: str) -> list[TrialResult]:
    """Every trial that the pages of a study hold."""
    return [result for results in tracker.read_pool(name).results.values() for result in results]


def test_results_come_back_exactly(record: ResultSnapshot, tracker: MLflowStore) -> None:
    assert tracker.sync(record) == CELLS
    back = {result.id: result for result in told(tracker, "tiny")}
    assert back == dict(record.by_id)
    assert len(back) == CELLS * FOLDS


def test_a_second_sync_writes_nothing(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    tracker.sync(record)
    before = {run.info.run_id for run in pages.runs("tiny", "cell")}
    assert tracker.sync(record) == 0
    assert {run.info.run_id for run in pages.runs("tiny", "cell")} == before
    assert len(pages.runs("tiny", "study")) == 1


def test_pages_from_nothing_equal_pages_in_steps(
    record: ResultSnapshot,
    partial: ResultSnapshot,
    tracker: MLflowStore,
    pages: Pages,
    database: Path,
    tmp_path: Path,
) -> None:
    """Study running, then ended with a failure, then repaired: the same pages as in one go."""
    assert tracker.sync(partial, final=False) == CELLS - 1
    assert [run.info.status for run in pages.runs("tiny", "study")] == ["RUNNING"]
    assert tracker.sync(partial) == 1
    first = {
        run.data.tags["olfaction.cell_id"]: run.info.run_id for run in pages.runs("tiny", "cell")
    }
    assert tracker.sync(record) == 1
    second = {
        run.data.tags["olfaction.cell_id"]: run.info.run_id for run in pages.runs("tiny", "cell")
    }
    assert len(first.items() & second.items()) == CELLS - 1
    shutil.copy(database, tmp_path / "fresh.db")
    fresh = MLflowStore(f"sqlite:///{tmp_path / 'fresh.db'}", str(tmp_path / "fresh"))
    fresh.sync(record)
    assert pages.shown("tiny") == Pages(fresh).shown("tiny")


def test_a_failing_arm_is_failed_with_its_cause(
    partial: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    tracker.sync(partial)
    by_technique = {run.data.params["technique"]: run for run in pages.runs("tiny", "cell")}
    failed = by_technique["label_balancer"]
    assert failed.info.status == "FAILED"
    assert failed.data.tags["olfaction.cause"] == partial.failures[0].cause
    assert failed.data.tags["olfaction.missing"] == "1"
    assert by_technique["mlp_head"].info.status == "FINISHED"
    assert "olfaction.cause" not in by_technique["mlp_head"].data.tags
    assert [run.info.status for run in pages.runs("tiny", "study")] == ["FAILED"]


def test_a_arm_that_left_the_study_leaves_its_pages(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    tracker.sync(record)
    fewer = dataclasses.replace(record.plan, arms=record.plan.arms[:-1])
    gone = record.plan.arms[-1].id
    kept = {key: r for key, r in record.by_id.items() if r.spec.arm.id != gone}
    assert (
        tracker.sync(
            dataclasses.replace(
                record, study=dataclasses.replace(record.study, plan=fewer), by_id=kept
            )
        )
        == 0
    )
    assert set(pages.arms("tiny")) == {arm.id for arm in fewer.arms}
    assert {result.id for result in told(tracker, "tiny")} == set(kept)


def test_an_unfinished_child_is_written_again(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    """What a driver killed in the middle of a page leaves behind."""
    tracker.sync(record)
    run_id = pages.runs("tiny", "cell")[0].info.run_id
    pages.client.update_run(run_id, status="RUNNING")
    assert tracker.sync(record) == 1
    assert {run.info.status for run in pages.runs("tiny", "cell")} == {"FINISHED"}
    assert len(pages.runs("tiny", "cell")) == CELLS


def test_what_two_drivers_left_behind_is_removed(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    """Twice every page, whole or cut short, and one of a cell that nobody knows."""
    tracker.sync(record)
    before = pages.shown("tiny")
    (parent,) = pages.runs("tiny", "study")
    for run in [parent, *pages.runs("tiny", "cell")]:
        other = pages.client.create_run(run.info.experiment_id, tags=run.data.tags)
        if run.info.run_id < other.info.run_id:  # about half of them
            pages.client.set_terminated(other.info.run_id)
    tags = {"olfaction.role": "cell", "olfaction.cell_id": "unknown"}
    pages.client.create_run(parent.info.experiment_id, tags=tags)
    tracker.sync(record)
    assert pages.shown("tiny") == before  # each name once
    assert set(pages.arms("tiny")) == {arm.id for arm in record.plan.arms}
    assert len(pages.client.search_runs([parent.info.experiment_id])) == 1 + CELLS


def test_a_number_that_falls_is_shown(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two values of one time MLflow shows the larger; arms leave, and the clock goes back."""
    shown, right = [], []
    for left, clock in enumerate((time.time(), time.time() - 3600, time.time() - 7200)):
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        arms = record.plan.arms[: CELLS - left]
        ids = {arm.id for arm in arms}
        kept = {key: r for key, r in record.by_id.items() if r.spec.arm.id in ids}
        plan = dataclasses.replace(record.plan, arms=arms)
        fewer = dataclasses.replace(
            record, study=dataclasses.replace(record.study, plan=plan), by_id=kept
        )
        tracker.sync(fewer)
        shown += [run.data.metrics["gains"] for run in pages.runs("tiny", "study")]
        right += [build_headline_metrics(compare_arms([build_score_pool(fewer)]))["gains"]]
    assert shown == right
    assert right[-1] < right[0]


def test_the_parent_carries_the_study(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    tracker.sync(record)
    (parent,) = pages.runs("tiny", "study")
    tables = {f"comparison.{kind}" for kind in ("csv", "md", "json", "tex")}
    assert pages.files(parent) == {"study.json", "split.json", *tables}
    assert parent.info.status == "FINISHED"
    (data,) = parent.inputs.dataset_inputs
    assert record.data.dataset.digest.startswith(data.dataset.digest)
    assert len(data.dataset.digest) >= 32


def test_a_child_shows_its_arm(record: ResultSnapshot, tracker: MLflowStore, pages: Pages) -> None:
    tracker.sync(record)
    (parent,) = pages.runs("tiny", "study")
    runs = {run.data.tags["olfaction.cell_id"]: run for run in pages.runs("tiny", "cell")}
    rivals = {each.summary.arm.id: each.paired for each in compare_arms([build_score_pool(record)])}
    for summary in record.summaries:
        run = runs[summary.arm.id]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params == build_arm_params(summary.arm)
        assert run.data.metrics["auroc_macro"] == pytest.approx(summary.auroc)
        fifths = [run.data.metrics[f"auroc_q{i}"] for i in range(1, 6)]
        assert fifths == pytest.approx(summary.fifths)
        rival = rivals[summary.arm.id]
        assert ("sparse_gain" in run.data.metrics) == (rival is not None)
        if rival:
            assert run.data.metrics["sparse_gain"] == pytest.approx(rival.sparse.estimate)
            spread = np.std(rival.sparse.folds, ddof=1)
            assert run.data.metrics["sparse_gain_sd"] == pytest.approx(spread)
        steps = pages.client.get_metric_history(run.info.run_id, "auroc_macro_fold")
        assert [m.step for m in steps] == list(range(FOLDS))
        assert [m.value for m in steps] == pytest.approx(summary.folds)
        assert pages.files(run) == {"per_label.csv", "trials"}


def test_a_gain_is_shown_before_the_study_has_ended(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    tracker.sync(record, final=False)
    shown = {run.data.tags["olfaction.cell_id"]: run.data for run in pages.runs("tiny", "cell")}
    assert len(shown) == CELLS
    for each in compare_arms([build_score_pool(record)]):
        data = shown[each.summary.arm.id]
        gain = {name: data.metrics.get(f"macro_gain{name}") for name in ("", "_low", "_high")}
        macro = each.paired and each.paired.macro
        numbers = (macro.estimate, macro.low, macro.high) if macro else (None, None, None)
        assert tuple(gain.values()) == numbers
        assert "olfaction.verdict" not in data.tags  # it waits for the whole family


def test_the_table_of_labels_holds_every_fold(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages, tmp_path: Path
) -> None:
    tracker.sync(record)
    dataset = record.data.dataset
    arm = record.plan.arms[0]
    run_id = pages.arms("tiny")[arm.id]
    path = pages.client.download_artifacts(run_id, "per_label.csv", str(tmp_path))
    table = pd.read_csv(path).set_index("label")
    assert tuple(table.index) == dataset.label_names
    assert list(table["positives"]) == list(dataset.labels.sum(axis=0))
    for step, result in enumerate(record.results_of(arm)):
        np.testing.assert_allclose(table[f"auroc_{step}"], result.auroc)


def test_studies_of_one_store_stay_apart(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    other = dataclasses.replace(
        record,
        study=dataclasses.replace(
            record.study, spec=record.spec.model_copy(update={"name": "other"})
        ),
    )
    tracker.sync(record)
    before = pages.shown("tiny")
    assert tracker.sync(other) == CELLS
    assert pages.shown("tiny") == before
    assert len(told(tracker, "other")) == CELLS * FOLDS


def test_a_removed_experiment_comes_back(record: ResultSnapshot, tracker: MLflowStore) -> None:
    tracker.sync(record)
    client = MlflowClient(tracking_uri=tracker.uri)
    client.delete_experiment(client.get_experiment_by_name("tiny").experiment_id)
    tracker.sync(record)
    assert len(told(tracker, "tiny")) == CELLS * FOLDS


def test_lost_artifacts_are_written_anew(
    record: ResultSnapshot, tracker: MLflowStore, tmp_path: Path
) -> None:
    """Pages that are up to date say nothing of the files behind them."""
    tracker.sync(record)
    shutil.rmtree(tmp_path / "artifacts")
    assert tracker.sync(record) == 0
    tracker.clear(record)
    assert tracker.sync(record) == CELLS
    assert len(told(tracker, "tiny")) == CELLS * FOLDS


def test_sync_brings_the_pages_up_from_the_ledger(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    place = (record.spec.run.storage, tracker.uri)
    counts = ("5 of 5 pages written, 0 up to date", "0 of 5 pages written, 5 up to date")
    for count in counts:
        assert sync_study("tiny", *place) == (f"{count}: {tracker.uri}\n", True)
    assert len(pages.runs("tiny", "cell")) == CELLS
    with pytest.raises(InputError, match="holds no study"):
        sync_study("nothing", *place)


def test_sync_leaves_the_pages_of_a_running_launch_alone(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    store = record.spec.run.storage
    with StudyLock(Storage(f"{store}/tiny")).hold(), pytest.raises(LockedError, match="launched"):
        sync_study("tiny", store, tracker.uri)
    assert pages.client.get_experiment_by_name("tiny") is None


def test_an_unknown_experiment_is_named(tracker: MLflowStore) -> None:
    with pytest.raises(InputError, match="has no experiment 'nothing'"):
        tracker.read_pool("nothing")


def test_mlflow_alone_gives_the_comparison_of_the_ledger(
    record: ResultSnapshot, tracker: MLflowStore
) -> None:
    tracker.sync(record)
    folder = Path(record.spec.run.storage) / "tiny"
    from_ledger = build_comparison_frame(compare_arms([build_score_pool(load_snapshot(folder))]))
    assert build_comparison_frame(compare_arms([tracker.read_pool("tiny")])).equals(from_ledger)


def test_a_child_links_its_reference_and_says_what_its_gain_is_worth(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    tracker.sync(record)
    tracker.sync(record)
    runs = pages.arms("tiny")
    children = {run.data.tags["olfaction.cell_id"]: run for run in pages.runs("tiny", "cell")}
    compared = compare_arms([build_score_pool(record)])
    assert any(each.paired for each in compared)
    for each in compared:
        run = children[each.summary.arm.id]
        if each.paired is None:
            assert run.data.tags["olfaction.verdict"] == ""
            continue
        assert run.data.tags["olfaction.reference_run"] == runs[each.paired.reference.id]
        assert run.data.tags["olfaction.verdict"] == str(each.paired.verdict)
        assert run.data.metrics["macro_gain_low"] == each.paired.macro.low
    (parent,) = pages.runs("tiny", "study")
    best = max(each.summary.auroc for each in compared)
    assert parent.data.metrics["auroc_macro_best"] == pytest.approx(best)


def test_a_report_is_kept_on_the_page_of_its_study(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages, tmp_path: Path
) -> None:
    folder = tmp_path / "written"
    folder.mkdir()
    (folder / "report.html").write_text("<p>a report</p>", encoding="utf-8")
    with pytest.raises(InputError, match="has no page of study 'tiny'"):
        tracker.store_report(record, folder)
    tracker.sync(record)
    tracker.store_report(record, folder)
    (parent,) = pages.runs("tiny", "study")
    (kept,) = pages.client.list_artifacts(parent.info.run_id, "report")
    assert kept.path == "report/report.html"
