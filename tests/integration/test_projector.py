"""The thread that keeps the pages up: what it costs the driver, what it says, how it ends."""

from __future__ import annotations

import _thread
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from projected import CELLS, PACE, check_pages
from tracking_pages import Pages

from study.errors import TrackingError
from study.progress import Progress
from study.results.study_results import ResultSnapshot, Study
from study.results.trial_result import TrialResult
from study.tracking.background import BackgroundSync, SyncInterval
from study.tracking.mlflow_store import MLflowStore
from study.tracking.sync import SyncStage

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


class Gated:
    """Real pages that answer only while the gate is open, and break down as often as asked."""

    def __init__(self, tracker: MLflowStore, failing: int = 0) -> None:
        self.tracker, self.uri, self.failing = tracker, tracker.uri, failing
        self.gate = threading.Event()
        self.seen: list[SyncStage] = []

    def sync_stepwise(
        self, record: ResultSnapshot, stage: SyncStage, progress: Progress | None = None
    ) -> Generator[str]:
        self.seen.append(stage)
        self.gate.wait()
        self.failing -= 1
        if self.failing >= 0:
            raise TrackingError(f"no luck {self.failing}")
        yield from self.tracker.sync_stepwise(record, stage, progress)


def _until(happened: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_driver_is_not_kept_waiting_and_calls_run_together(
    record: ResultSnapshot, tracker: MLflowStore
) -> None:
    gated = Gated(tracker)
    projector = BackgroundSync(gated, lambda: record, print, PACE)
    projector.request_sync()
    _until(lambda: gated.seen)
    for _ in range(1000):
        projector.request_sync()  # returns, though the store says nothing
    assert gated.seen == [SyncStage.RUNNING]
    gated.gate.set()
    _until(lambda: len(gated.seen) == 2)
    projector.finish(record)
    assert gated.seen == [SyncStage.RUNNING, SyncStage.RUNNING, SyncStage.ENDED]
    assert len(Pages(tracker).runs("tiny", "cell")) == CELLS


def test_trouble_is_said_once_and_its_end_too(record: ResultSnapshot, tracker: MLflowStore) -> None:
    gated, notes = Gated(tracker, failing=3), []
    gated.gate.set()
    projector = BackgroundSync(
        gated, lambda: record, notes.append, SyncInterval(min_rest=0.05, first_retry=0.02)
    )
    projector.request_sync()
    _until(lambda: len(notes) == 2)
    assert notes == [
        "no luck 2; the study continues",
        f"the pages in '{tracker.uri}' are written again",
    ]
    projector.finish(record)
    assert len(notes) == 2


def test_the_last_projection_is_tried_again(
    record: ResultSnapshot, tracker: MLflowStore, database: Path, tmp_path: Path
) -> None:
    gated, notes = Gated(tracker, failing=2), []
    gated.gate.set()
    projector = BackgroundSync(gated, lambda: record, notes.append, PACE)
    assert projector.finish(record) == CELLS
    assert notes[0] == "no luck 1; trying again"
    shutil.copy(database, tmp_path / "fresh.db")
    fresh = MLflowStore(f"sqlite:///{tmp_path / 'fresh.db'}", str(tmp_path / "fresh"))
    check_pages(tracker, record, fresh)


def test_a_store_that_never_answers_is_left_with_a_named_error(
    record: ResultSnapshot, tracker: MLflowStore
) -> None:
    gated, before = Gated(tracker), set(threading.enumerate())
    projector = BackgroundSync(gated, lambda: record, print, replace(PACE, patience=1000.0))
    projector.request_sync()
    _until(lambda: gated.seen)
    message = r"not complete after (\d+) s.*is slow.*`study sync tiny`"
    with pytest.raises(TrackingError, match=message) as left:
        projector.finish(record, patience=0.5)
    waited = re.search(message, str(left.value))
    assert waited is not None
    assert int(waited[1]) < 60  # the usual patience here is 1000
    gated.gate.set()  # the call under way returns; nothing is written after it
    _until(lambda: set(threading.enumerate()) <= before)
    assert len(Pages(tracker).runs("tiny", "cell")) <= 1


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Hear Ctrl-C also where these tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_leaves_the_last_projection(record: ResultSnapshot, tracker: MLflowStore) -> None:
    """The store says nothing, and is given more time than this test would ever take."""
    patient, gated = replace(PACE, patience=1e9), Gated(tracker)

    def press() -> None:
        _until(lambda: gated.seen)
        _thread.interrupt_main()

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        BackgroundSync(gated, lambda: record, print, patient).finish(record)
    other = Gated(tracker)
    with pytest.raises(TrackingError, match="study sync"):
        BackgroundSync(other, lambda: record, print, patient).finish(
            record, should_stop=lambda: bool(other.seen)
        )


def test_a_defect_is_not_hidden(record: ResultSnapshot, tracker: MLflowStore) -> None:
    met = threading.Event()

    def read() -> ResultSnapshot:
        met.set()
        raise ZeroDivisionError

    projector = BackgroundSync(tracker, read, print, PACE)
    projector.request_sync()
    assert met.wait(120)
    with pytest.raises(ZeroDivisionError):
        projector.finish(record)


def test_progress_is_shown_on_the_page_of_the_study(
    partial: ResultSnapshot, record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    projector = BackgroundSync(
        tracker, lambda: partial, print, SyncInterval(interval=0.2, min_rest=0.1)
    )
    projector.report_progress(
        Progress("trials", total=8, done=6, running=2, failed=1, seconds=60.0)
    )
    _until(lambda: pages.client.get_experiment_by_name("tiny"))
    _until(lambda: len(pages.runs("tiny", "cell")) == CELLS - 1)
    (parent,) = pages.runs("tiny", "study")
    told = {k.removeprefix("olfaction."): v for k, v in parent.data.tags.items()}
    assert parent.info.status == "RUNNING"
    assert told["progress"] == "trials: 6/8 done, 2 running, 1 failed, about 20 s left"
    counts = [told[f"trials_{word}"] for word in ("finished", "running", "failed", "missing")]
    assert counts == ["9", "2", "1", "1"]
    assert told["time_left"] == "20 s"
    projector.finish(record)
    (parent,) = pages.runs("tiny", "study")
    told = {k.removeprefix("olfaction."): v for k, v in parent.data.tags.items()}
    assert (told["trials_running"], told["time_left"], told["progress"]) == ("0", "", "")


def test_a_study_that_was_interrupted_says_so_and_goes_on(
    partial: ResultSnapshot, record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    BackgroundSync(tracker, lambda: partial, print, PACE).finish(partial, stopped=True)
    assert [run.info.status for run in pages.runs("tiny", "study")] == ["KILLED"]
    assert len(pages.runs("tiny", "cell")) == CELLS - 1
    later = BackgroundSync(tracker, lambda: partial, print, PACE)
    later.request_sync()
    _until(lambda: pages.runs("tiny", "study")[0].info.status == "RUNNING")
    later.finish(record)
    assert [run.info.status for run in pages.runs("tiny", "study")] == ["FINISHED"]


def test_a_record_that_is_damaged_for_a_while_stops_nothing(
    study: Study, record: ResultSnapshot, tracker: MLflowStore, pages: Pages
) -> None:
    """The reader meets a file that is torn, and reads it once it is whole."""
    for result in record.by_id.values():
        study.ledger.put(result)
    name = f"{next(iter(record.by_id))}.trial"
    whole = study.ledger.storage.read(name)
    Path(study.ledger.storage.path(name)).write_bytes(whole[:100])
    notes: list[str] = []
    projector = BackgroundSync(tracker, study.read_snapshot, notes.append, PACE)
    projector.request_sync()
    _until(lambda: notes)
    assert name in notes[0]
    Path(study.ledger.storage.path(name)).write_bytes(whole)
    _until(lambda: len(notes) == 2)
    _until(lambda: len(pages.runs("tiny", "cell")) == CELLS)
    projector.close()


def test_a_result_is_read_once(
    study: Study, record: ResultSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    from_bytes = TrialResult.from_bytes

    def counted(data: bytes) -> TrialResult:
        result = from_bytes(data)
        read.append(result.id)
        return result

    monkeypatch.setattr(TrialResult, "from_bytes", counted)
    again = study.read_snapshot
    for result in record.by_id.values():
        study.ledger.put(result)
        assert again().by_id[result.id] == result
    assert sorted(read) == sorted(record.by_id)
