"""A study beside a real tracking server that stops, is slow, or is killed and started again."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from projected import At, check_pages, named, run
from tracking_servers import MlflowServer, SlowRoad

from study.errors import TrackingError
from study.results.study_results import Rereader
from study.runner.prepare import Prepared
from study.tracking.background import SyncInterval
from study.tracking.mlflow_store import MLflowStore

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


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
) -> Prepared:
    return named(request.node.name, tiny_study, tmp_path, server.uri)


def test_a_server_that_is_stopped_for_a_while(
    study: Prepared, server: MlflowServer, tracker: MLflowStore
) -> None:
    """It takes connections and says nothing, from the second trial to the end of the study."""
    served = MLflowStore(server.uri, "unused")
    at: At = {2: lambda: server.signal(signal.SIGSTOP), 7: lambda: server.signal(signal.SIGCONT)}
    told = run(study, served, at)
    assert told.blocked < 0.1
    check_pages(served, told.record, tracker)


def test_a_server_that_is_killed_and_started_again(
    study: Prepared, server: MlflowServer, tracker: MLflowStore
) -> None:
    served = MLflowStore(server.uri, "unused")

    def down() -> None:
        server.signal(signal.SIGKILL)
        time.sleep(2)  # so that the projector meets it

    told = run(study, served, {3: down, 6: server.start})
    assert told.blocked < 0.1
    assert len(told.notes) == 2
    assert "broke down" in told.notes[0]
    assert told.notes[1] == f"the pages in '{server.uri}' are written again"
    check_pages(served, told.record, tracker)


def test_a_server_that_is_slow_for_a_while(
    study: Prepared, road: SlowRoad, tracker: MLflowStore
) -> None:
    served = MLflowStore(road.uri, "unused")

    def slow() -> None:
        road.delay = 3.0

    def quick() -> None:
        road.delay = 0.0

    told = run(study, served, {2: slow, 7: quick})
    assert road.delayed
    assert told.blocked < 0.1
    check_pages(served, told.record, tracker)


def test_a_server_that_is_silent_at_the_end_is_left(
    study: Prepared, server: MlflowServer, tracker: MLflowStore
) -> None:
    """The study ends with a named error and no page; `study sync` writes them later."""
    served = MLflowStore(server.uri, "unused")
    began = time.monotonic()
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(
            TrackingError, match=r"not complete after 1 s.*`study sync a_server_that"
        ):
            run(study, served, {}, SyncInterval(patience=1.0, delay=0.0))
    finally:
        server.signal(signal.SIGCONT)
    assert time.monotonic() - began < 20
    record = Rereader(study)()
    time.sleep(1)  # the call that was under way
    served.sync(record)
    check_pages(served, record, tracker)


def test_a_slow_server_is_no_bad_input(road: SlowRoad) -> None:
    road.delay = 8.0
    began = time.monotonic()
    MLflowStore(road.uri, "unused")
    assert time.monotonic() - began < 7
