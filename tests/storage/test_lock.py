"""One launch at a time, whoever is killed, suspended, late or has another clock."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import lock_holder
import pytest
import yaml

from study.errors import StorageError
from study.lock import LockedError, StudyLock, held_by
from study.owner import this_process
from study.storage import Storage

LEASE = 1.0


@pytest.fixture
def home(tmp_path):
    storage = Storage(str(tmp_path / "study"))
    storage.prepare()
    return storage


@contextmanager
def holder(home, waits="refuse", *, at_once=True):
    """Another process; it is killed at the end if it still runs."""
    command = [sys.executable, lock_holder.__file__, home.address, str(LEASE), waits]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert said(process) == "ready"
            if at_once:
                go(process)
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def said(process):
    return process.stdout.readline().rstrip("\n")


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process):
    go(process)
    return said(process)


def refusal(home, **held):
    with pytest.raises(LockedError) as caught, StudyLock(home, LEASE).held(**held):
        pytest.fail("two launches at once")
    return str(caught.value)


def written(home, owner, number=1):
    home.write(f"launch-{number:06d}.lock", owner.to_bytes())


def elsewhere(**changed):
    return replace(this_process(LEASE), host="lab7", machine="another", user="ada", **changed)


def test_a_second_launch_is_refused_at_once_with_the_name_of_the_first(home):
    with holder(home) as first:
        assert said(first) == "held"
        before = time.monotonic()
        message = refusal(home)
        assert time.monotonic() - before < LEASE
        assert f"process {first.pid}, since 20" in message
        assert "lock_holder.py" in message
        assert "give --wait" in message
        assert held_by(home).pid == first.pid
        with holder(home) as second:
            assert f"process {first.pid}" in said(second)
    assert held_by(home) is None


def test_who_waits_begins_when_the_first_has_ended(home):
    with holder(home) as first:
        assert said(first) == "held"
        with holder(home, "wait") as second:
            assert said(second).startswith("waiting for the launch by")
            answer(first)
            answer(first)
            assert said(second) == "held"


def test_a_killed_launch_is_taken_over_at_once_and_said(home):
    with holder(home) as first:
        assert said(first) == "held"
        first.kill()
        first.wait()
        notes, before = [], time.monotonic()
        with StudyLock(home, 60).held(note=notes.append):
            assert time.monotonic() - before < LEASE
        (note,) = notes
        assert f"(process {first.pid}, since" in note
        assert "was cut off; this one goes on from there" in note


def test_a_process_that_was_given_the_same_number_is_another(home):
    written(home, replace(this_process(LEASE), begun="1"))
    with StudyLock(home, 60).held():
        pass


def test_a_suspended_launch_is_taken_over_and_notices(home):
    with holder(home) as first:
        assert said(first) == "held"
        first.send_signal(signal.SIGSTOP)
        notes = []
        with StudyLock(home, LEASE).held(wait=True, note=notes.append) as lock:
            assert "no sign of life" in notes[-1]
            first.send_signal(signal.SIGCONT)
            assert answer(first) == "lost: True"
            time.sleep(LEASE)
            assert not lock.lost
            assert held_by(home).pid == os.getpid()
        assert answer(first) == ""
    assert held_by(home) is None


def test_a_launch_elsewhere_is_refused_when_it_is_seen_to_live(home):
    """The process of another machine cannot be looked up: its beats tell."""
    owner = elsewhere()
    written(home, owner)
    notes = []

    def beat(text):
        notes.append(text)
        written(home, replace(owner, beat=1))

    with (
        pytest.raises(LockedError, match="launched by ada on lab7"),
        StudyLock(home, 60).held(note=beat),
    ):
        pytest.fail("two launches at once")
    assert len(notes) == 1
    assert "looking whether the launch by ada on lab7" in notes[0]


@pytest.mark.parametrize("jump", [-1e8, 1e8])
def test_a_launch_elsewhere_that_is_gone_is_taken_over_whatever_the_clocks_say(
    home, jump, monkeypatch
):
    written(home, elsewhere(since="2099-01-01 00:00 UTC"))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    notes, before = [], time.monotonic()
    with StudyLock(home, LEASE).held(note=notes.append) as lock:
        assert time.monotonic() - before >= LEASE
        time.sleep(LEASE)
        assert not lock.lost
    assert notes[-1].startswith("no sign of life for 1 s from ada on lab7")


@pytest.mark.parametrize("content", [b"", b"{", bytes(400), None], ids=str)
def test_a_torn_lock_is_set_aside_after_a_lease_and_said(home, content):
    sound = this_process(LEASE).to_bytes()
    flipped = sound.replace(b'"pid": ', b'"pid": 1')
    home.write("launch-000003.lock", flipped if content is None else content)
    notes = []
    with StudyLock(home, LEASE).held(note=notes.append):
        assert "launch-000003.lock.corrupt" in home.names("")
    assert "the lock is damaged" in notes[-1]


def test_of_many_that_take_over_at_once_one_wins(home):
    with holder(home) as dead:
        assert said(dead) == "held"
    with ExitStack() as stack:
        takers = [stack.enter_context(holder(home, at_once=False)) for _ in range(5)]
        for process in takers:
            go(process)
        lines = [said(process) for process in takers]
        (winner,) = (p for p, line in zip(takers, lines, strict=True) if "was cut off" in line)
        assert said(winner) == "held"
        assert held_by(home).pid == winner.pid
        assert sum(f"process {winner.pid}, since" in line for line in lines) == 4


def test_of_many_threads_that_begin_at_once_one_wins(home):
    """Closer together than processes can be."""
    gate, held, refused = threading.Barrier(8), [], []

    def take():
        lock = StudyLock(home, LEASE)
        gate.wait()
        try:
            with lock.held(note=held.append):
                held.append("held")
                gate.wait()
        except LockedError:
            refused.append("refused")
            gate.wait()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (held, len(refused)) == (["held"], 7)


def test_a_slow_taker_finds_that_others_came_and_went(home, monkeypatch):
    """It saw number 1 dead, then slept while 2 was taken, freed, and 3 taken."""
    written(home, replace(this_process(LEASE), begun="1"))
    slow, create = StudyLock(home, LEASE), home.create

    def late(name, data):
        monkeypatch.setattr(home, "create", create)
        with StudyLock(home, LEASE).held():
            pass
        lock = StudyLock(home, LEASE)
        held.append(lock.held())
        held[0].__enter__()
        return create(name, data)

    held = []
    monkeypatch.setattr(home, "create", late)
    with pytest.raises(LockedError), slow.held():
        pytest.fail("two launches at once")
    assert home.names("") == ["launch-000003.lock"]
    held[0].__exit__(None, None, None)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    lock = StudyLock(Storage(str(tmp_path / "file" / "study")), LEASE)
    named = r"file/study/launch-000001\.lock cannot be written \(Not a directory\)"
    with pytest.raises(StorageError, match=named), lock.held():
        pytest.fail("there is no folder")


def test_passwords_of_urls_are_not_written(home, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["study", "launch", "x", "--tracking-uri", "http://u:pw@h/"])
    with StudyLock(home, LEASE).held():
        text = home.read("launch-000001.lock").decode()
    assert "pw" not in text
    assert "http://h/" in text


def test_a_second_launch_of_a_study_changes_nothing_and_says_who_runs_it(tmp_path, tiny, command):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    arguments = ("launch", "tiny.yaml", "--storage", "store", "--no-ray", "--no-mlflow")
    home = Storage(str(tmp_path / "store" / "tiny"))
    home.prepare()
    with holder(home) as first:
        assert said(first) == "held"
        code, text = command(*arguments)
        assert code == 3
        assert f"process {first.pid}, since" in text
        assert home.names("") == ["launch-000001.lock"]
        status = command("status", "tiny", "--storage", "store")
        assert "holds no study" in status[1]
    code, text = command(*arguments)
    assert code == 0
    assert "was cut off; this one goes on from there" in text
