"""What a running launch tells of its progress."""

import io

import pytest
from rich.console import Console

from study.progress import (
    CallbackList,
    CountingCallback,
    LogProgress,
    Progress,
    RichProgress,
    format_duration,
)
from study.runner.status import read_state, state_file
from study.storage.storage import Storage


def test_a_tally_counts_what_runs_what_is_done_and_what_failed():
    tally = CountingCallback()
    tally.stage("trials", 4)
    for _ in range(3):
        tally.began()
    tally.lost()
    tally.advance()
    tally.advance(failed=1)
    now = tally.progress
    assert (now.total, now.done, now.running, now.failed) == (4, 2, 0, 1)


def test_the_time_left_is_that_of_the_pace_so_far():
    assert Progress("trials", 10, 4, seconds=20.0).left == 30.0
    assert Progress("trials", 10, 0, seconds=20.0).left is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7, "7 s"), (99.4, "99 s"), (700, "12 min"), (12_000, "3 h 20 min"), (190_800, "2 d 5 h")],
)
def test_durations_are_said_as_people_do(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize("kind", [RichProgress, lambda console: LogProgress(console, interval=0.0)])
def test_running_and_failed_trials_are_told(kind):
    console = Console(file=io.StringIO(), width=120, force_terminal=kind is RichProgress)
    told = kind(console)
    told.stage("trials", 3)
    told.began(3)
    told.advance(failed=1)
    told.close()
    text = console.file.getvalue()
    assert "2 running, 1 failed" in text
    assert "1/3" in text


def test_the_trials_of_a_pack_are_told_at_once():
    console = Console(file=io.StringIO(), width=120)
    told = LogProgress(console, interval=0.0)
    told.stage("trials", 40)
    told.began(16)
    told.advance(pieces=16, failed=1)
    (line,) = console.file.getvalue().splitlines()[1:]
    assert line.startswith("trials: 16/40 done, 1 failed")


def test_the_state_is_read_back_from_the_storage(tmp_path):
    told = CallbackList(state_file(Storage(str(tmp_path))))
    told.stage("trials", 3)
    told.began()
    told.advance()
    told.close()
    state = read_state(Storage(str(tmp_path)))
    assert (state.stage, state.total, state.done, state.running) == ("trials", 3, 1, 0)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"stage": "x", "odd": 1}', b"\xff\xfe"])
def test_a_damaged_state_is_none(tmp_path, content):
    (tmp_path / "progress.json").write_bytes(content)
    assert read_state(Storage(str(tmp_path))) is None


def test_no_state_is_none(tmp_path):
    assert read_state(Storage(str(tmp_path))) is None


def test_a_state_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    state = state_file(Storage(str(tmp_path / "file")))
    state.stage("trials", 3)
    state.close()
    assert read_state(Storage(str(tmp_path / "file"))) is None
