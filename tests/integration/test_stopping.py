"""Ctrl-C once ends a launch soon, twice at once; what had finished is kept."""

import os
import signal
import time

import pytest

from study.executors.base import LocalExecutor
from study.progress import ProgressCallback
from study.results.ledger import Ledger
from study.runner.launcher import launch
from study.runner.prepare import prepare, write_study_folder
from study.runner.stopping import GRACE, StopSignal


class PressedAfter(ProgressCallback):
    """Presses Ctrl-C when so many trials have finished."""

    def __init__(self, count):
        self.left, self.stages, self.notes = count, [], []

    def stage(self, name, total):  # noqa: ARG002 (contract)
        self.stages.append(name)

    def note(self, text):
        self.notes.append(text)

    def advance(self, note="", *, pieces=1, failed=0):  # noqa: ARG002 (contract)
        if self.stages[-1] == "trials" and self.left > 0:
            self.left -= pieces
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGINT)


def test_one_press_ends_after_the_pack_that_runs(tiny, spec_of, run_tiny, tmp_path):
    spec = spec_of(tiny, tmp_path)
    study, told = prepare(spec), PressedAfter(3)
    write_study_folder(study)
    stop = StopSignal(told.note)
    with stop.listening(), pytest.raises(KeyboardInterrupt):
        launch(study, LocalExecutor(), None, told, stop)
    known = len(Ledger(study.ledger.storage).ids())
    assert 3 <= known < 8
    assert told.notes[-1].startswith("stopping: running trials have 10 s to finish")
    _, record, notes = run_tiny(spec)
    assert record.missing == 0
    assert notes.notes[0] == f"10 trials, {known} already in the ledger"
    assert notes.stages["trials"] == 8 - known


def test_two_presses_end_at_once():
    before = signal.getsignal(signal.SIGINT)
    stop = StopSignal(lambda _: None)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        assert not stop.hurried
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_is_a_press():
    stop = StopSignal(lambda _: None)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested


def test_the_grace_ends(monkeypatch):
    stop = StopSignal(lambda _: None)
    stop.interrupt()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + GRACE + 0.1)
    assert stop.hurried
