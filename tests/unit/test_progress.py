"""Progress of a running launch: counts, bars, log lines and the progress file."""

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
from study.runner.status import build_progress_file, read_progress
from study.storage.storage import Storage


def test_running_done_and_failed_pieces_are_counted():
    counting = CountingCallback()
    counting.stage("trials", 4)
    for _ in range(3):
        counting.began()
    counting.lost()
    counting.advance()
    counting.advance(failed=1)
    now = counting.progress
    assert (now.total, now.done, now.running, now.failed) == (4, 2, 0, 1)


def test_the_time_left_follows_the_pace_so_far():
    assert Progress("trials", 10, 4, seconds=20.0).left == 30.0
    assert Progress("trials", 10, 0, seconds=20.0).left is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7, "7 s"), (99.4, "99 s"), (700, "12 min"), (12_000, "3 h 20 min"), (190_800, "2 d 5 h")],
)
def test_durations_are_formatted_in_suitable_units(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize("kind", [RichProgress, lambda console: LogProgress(console, interval=0.0)])
def test_running_and_failed_trials_are_shown(kind):
    console = Console(file=io.StringIO(), width=120, force_terminal=kind is RichProgress)
    progress = kind(console)
    progress.stage("trials", 3)
    progress.began(3)
    progress.advance(failed=1)
    progress.close()
    text = console.file.getvalue()
    assert "2 running, 1 failed" in text
    assert "1/3" in text


def test_the_trials_of_a_pack_advance_together():
    console = Console(file=io.StringIO(), width=120)
    progress = LogProgress(console, interval=0.0)
    progress.stage("trials", 40)
    progress.began(16)
    progress.advance(pieces=16, failed=1)
    (line,) = console.file.getvalue().splitlines()[1:]
    assert line.startswith("trials: 16/40 done, 1 failed")


def test_the_progress_file_is_read_back(tmp_path):
    progress = CallbackList(build_progress_file(Storage(str(tmp_path))))
    progress.stage("trials", 3)
    progress.began()
    progress.advance()
    progress.close()
    written = read_progress(Storage(str(tmp_path)))
    assert (written.stage, written.total, written.done, written.running) == ("trials", 3, 1, 0)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"stage": "x", "odd": 1}', b"\xff\xfe"])
def test_a_damaged_progress_file_reads_as_none(tmp_path, content):
    (tmp_path / "progress.json").write_bytes(content)
    assert read_progress(Storage(str(tmp_path))) is None


def test_a_missing_progress_file_reads_as_none(tmp_path):
    assert read_progress(Storage(str(tmp_path))) is None


def test_an_unwritable_progress_file_raises_nothing(tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    written = build_progress_file(Storage(str(tmp_path / "file")))
    written.stage("trials", 3)
    written.close()
    assert read_progress(Storage(str(tmp_path / "file"))) is None
