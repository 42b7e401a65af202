"""What MLflow takes, what it costs, and what happens when it breaks down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tracking_pages import Pages

from study.config.loading import check_study
from study.config.redaction import redact, usable
from study.errors import InputError, TrackingError
from study.executors.base import LocalExecutor
from study.progress import ProgressCallback
from study.results.ledger import Ledger
from study.results.study_results import ResultSnapshot
from study.runner.launcher import launch
from study.runner.prepare import prepare, write_study_folder
from study.tracking.background import SyncInterval
from study.tracking.mlflow_store import MLflowStore
from study.tracking.pages import build_arm_tags

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

CELLS, FOLDS = 5, 2


def test_the_environment_names_no_other_run(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "someone else's")
    assert tracker.sync(record) == CELLS
    assert len(pages.runs("tiny", "study")) == 1
    assert pages.client.get_experiment_by_name("someone else's") is None


def test_long_texts_are_cut_to_what_mlflow_takes(partial: ResultSnapshot) -> None:
    summary = next(s for s in partial.summaries if s.missing)
    tags = build_arm_tags(summary, partial, ["x" * 20_000])
    assert max(map(len, tags.values())) == 5000
    assert tags["olfaction.cause"].endswith("x ...")


def test_many_metrics_go_in_several_calls(
    record: ResultSnapshot, tracker: MLflowStore, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More values than one call takes: 1,700 fold values of a cell."""
    many = [("auroc_macro_fold", 0.5, step) for step in range(1700)]
    monkeypatch.setattr("study.tracking.pages.build_fold_metrics", lambda _: many)
    tracker.sync(record)
    run = pages.runs("tiny", "cell")[0]
    assert len(pages.client.get_metric_history(run.info.run_id, "auroc_macro_fold")) == 1700


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every SQL statement that is sent while the test runs."""
    sent: list[str] = []

    def keep(connection: object, cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", keep)
    yield sent
    event.remove(Engine, "before_cursor_execute", keep)


def test_a_page_takes_few_statements(
    record: ResultSnapshot, tracker: MLflowStore, statements: list[str]
) -> None:
    """One call a metric would take hundreds; the values of a page go together."""
    tracker.sync(record)
    inserts = [s for s in statements if s.startswith("INSERT INTO metrics")]
    assert len(inserts) == CELLS + 1  # its own values with its verdict; the headline of the study
    assert len(statements) < 60 * (CELLS + 1)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "postgresql://127.0.0.1:9/x", "odd://x"])
def test_a_store_that_does_not_answer_is_bad_input(uri: str) -> None:
    started = time.monotonic()
    message = f"tracking store '{uri}' does not answer .*run.tracking.*--no-mlflow"
    with pytest.raises(InputError, match=message):
        MLflowStore(uri, "unused")
    assert time.monotonic() - started < 20  # SQLAlchemy is tried again for 100 s by MLflow


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("postgresql://ann:s3cr/t%40@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("https://:s3cret@host/x", "https://:***@host/x"),
        ("https://s3cret@host/x", "https://***@host/x"),
        ("http://host/x?token=s3cret&page=2", "http://host/x?token=***&page=2"),
        ("mysql://h/d?user=ann&password=s3cret", "mysql://h/d?user=ann&password=***"),
        (
            "no way to 'postgresql://a:s3cret@h', see b@c",
            "no way to 'postgresql://a:***@h', see b@c",
        ),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("postgresql://ann@host/db", "postgresql://ann@host/db"),
        ("sqlite:////data/a@b/mlflow.db", "sqlite:////data/a@b/mlflow.db"),
    ],
)
def test_addresses_are_shown_without_secrets(written: str, shown: str) -> None:
    assert redact(written) == shown == redact(shown)
    assert usable(written) == written


def test_an_address_without_its_secret_leaves_it_to_the_environment() -> None:
    assert usable("postgresql://ann:***@host/db") == "postgresql://ann@host/db"
    for shown in ("https://ann:***@host/x", "https://***@host/x"):
        assert usable(shown) == "https://host/x"


def test_a_store_that_breaks_down_stops_no_study(
    record: ResultSnapshot, tracker: MLflowStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    tiny_study: dict[str, object],
) -> None:  # fmt: skip
    """Pages that fail while the study runs are a note; at the end a named error."""

    def broken(*_: object, **__: object) -> None:
        raise MlflowException("database is locked")

    monkeypatch.setattr(MlflowClient, "create_run", broken)
    monkeypatch.setattr(
        "study.tracking.background.DEFAULT_INTERVAL", SyncInterval(patience=1.0, patience_share=0.0)
    )
    study = prepare(check_study({**tiny_study, "run": {"storage": str(tmp_path / "s")}}, "tiny"))
    write_study_folder(study)
    with pytest.raises(TrackingError, match=r"database is locked.*every result is in the ledger"):
        launch(study, LocalExecutor(), tracker, ProgressCallback())
    assert len(Ledger(study.ledger.storage).ids()) == CELLS * FOLDS
