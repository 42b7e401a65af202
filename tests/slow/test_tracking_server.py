"""A study beside a real tracking server that stops, is slow, or is killed and started again."""

from __future__ import annotations

import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from projected import QUICK, At, check_pages, named, run
from tracking_servers import MlflowServer, SlowRoad

from study.errors import TrackingError
from study.results.study_results import Study
from study.tracking.background import SyncInterval
from study.tracking.mlflow_store import MLflowStore

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


def _until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(database, folder / "mlflow.db")
    made = MlflowServer(f"sqlite:///{folder / 'mlflow.db'}", folder)
    yield made
    made.close()


@pytest.fixture
def road(server: MlflowServer) -> Iterator[SlowRoad]:
    made = SlowRoad(server.port)
    yield made
    made.close()


@pytest.fixture
def study(
    request: pytest.FixtureRequest,
    tiny_study: dict[str, object],
    tmp_path: Path,
    server: MlflowServer,
) -> Study:
    return named(request.node.name, tiny_study, tmp_path, server.uri)


def test_a_server_that_is_stopped_for_a_while(
    study: Study, server: MlflowServer, tracker: MLflowStore
) -> None:
    """It takes connections and says nothing, from the second trial to the end of the study."""
    served = MLflowStore(server.uri, "unused")
    at: At = {2: lambda: server.signal(signal.SIGSTOP), 7: lambda: server.signal(signal.SIGCONT)}
    told = run(study, served, at)
    assert told.blocked < QUICK
    check_pages(served, told.record, tracker)


def test_a_server_that_is_killed_and_started_again(
    study: Study, server: MlflowServer, tracker: MLflowStore
) -> None:
    served = MLflowStore(server.uri, "unused")

    notes: list[str] = []
    at: At = {
        3: lambda: server.signal(signal.SIGKILL),
        4: lambda: _until(lambda: notes),  # the projector has met it
        6: server.start,
    }
    told = run(study, served, at, notes=notes)
    assert told.blocked < QUICK
    assert len(told.notes) == 2
    assert "failed" in told.notes[0]
    assert told.notes[1] == f"the pages in '{server.uri}' are written again"
    check_pages(served, told.record, tracker)


def test_a_server_that_is_slow_for_a_while(
    study: Study, road: SlowRoad, tracker: MLflowStore
) -> None:
    served = MLflowStore(road.uri, "unused")

    at: At = {
        2: lambda: road.slow(30.0),
        6: lambda: _until(lambda: road.delayed),  # the projector has met it
        7: road.quick,
    }
    told = run(study, served, at)
    assert told.blocked < QUICK
    check_pages(served, told.record, tracker)


def test_a_server_that_is_silent_at_the_end_is_left(
    study: Study, server: MlflowServer, tracker: MLflowStore
) -> None:
    """The study ends with a named error and no page; `study sync` writes them later."""
    served = MLflowStore(server.uri, "unused")
    before = set(threading.enumerate())
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(TrackingError, match=r"`study sync a_server_that") as left:
            run(study, served, {}, SyncInterval(patience=1.0, patience_share=0.0))
        assert set(threading.enumerate()) - before  # the call under way was not waited for
    finally:
        server.signal(signal.SIGCONT)
    waited = re.search(r"not complete after (\d+) s", str(left.value))
    assert waited is not None
    assert int(waited[1]) < 20  # MLflow gives up after 45, and the usual patience is 60
    record = study.read_snapshot()
    _until(lambda: set(threading.enumerate()) <= before)  # that call has ended
    served.sync(record)
    check_pages(served, record, tracker)


def test_a_slow_server_is_no_bad_input(road: SlowRoad) -> None:
    """It answers later than MLflow waits: whoever waits for the answer meets MLflow's error."""
    road.slow(3600.0)
    MLflowStore(road.uri, "unused")
    _until(lambda: road.delayed)
