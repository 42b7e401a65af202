"""One launch at a time, whoever is killed, suspended, late or has another clock."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lock_holder
import pytest
import yaml

from study.errors import StorageError
from study.storage.checksums import add_json_checksum
from study.storage.lock import LockedError, Owner, StudyLock, is_lock, read_holder, remove_lock
from study.storage.storage import Storage

LEASE = 1.0
ADA = Owner("ada", "lab7", 7, "2026-01-01 00:00 UTC", "study launch tiny.yaml")


@pytest.fixture
def home(tmp_path):
    storage = Storage(str(tmp_path / "study"))
    storage.prepare()
    return storage


@pytest.fixture
def remote(request):
    """A folder of an object store, where locks are leases."""
    storage = Storage(f"memory://{request.node.name.partition('[')[0]}")
    yield storage
    storage.clear()


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
    with pytest.raises(LockedError) as caught, StudyLock(home, LEASE).hold(**held):
        pytest.fail("two launches at once")
    return str(caught.value)


def earlier(owner, **changed):
    """The lock file of an earlier version."""
    rest = {"token": "x", "machine": "m", "begun": "1", "lease": 60.0, "beat": 3, **changed}
    return add_json_checksum({**vars(owner), **rest})


def test_a_second_launch_is_refused_at_once_with_the_name_of_the_first(home):
    with holder(home) as first:
        assert said(first) == "held"
        before = time.monotonic()
        message = refusal(home)
        assert time.monotonic() - before < LEASE
        assert f"process {first.pid}, since 20" in message
        assert "lock_holder.py" in message
        assert "give --wait" in message
        assert read_holder(home).pid == first.pid
        with holder(home) as second:
            assert f"process {first.pid}" in said(second)
    assert read_holder(home) is None


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
        with StudyLock(home).hold(note=notes.append):
            assert time.monotonic() - before < LEASE
        (note,) = notes
        assert f"(process {first.pid}, since" in note
        assert "was interrupted; this one continues it" in note


def test_a_launch_that_was_killed_is_not_shown_as_running(home):
    with holder(home) as first:
        assert said(first) == "held"
        first.kill()
        first.wait()
        assert read_holder(home) is None


def test_a_child_of_a_killed_launch_does_not_keep_its_lock(home):
    """Forked children inherit the descriptors of their parent."""
    with holder(home, "fork") as first:
        assert said(first) == "held"
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
        while not (child := children.read_text().split()):
            time.sleep(0.05)
        time.sleep(0.5)
        first.kill()
        first.wait()
        with StudyLock(home).hold(note=print):
            assert Path(f"/proc/{child[0]}").exists()
        os.kill(int(child[0]), signal.SIGKILL)


def test_a_suspended_launch_keeps_its_lock(home):
    with holder(home) as first:
        assert said(first) == "held"
        first.send_signal(signal.SIGSTOP)
        time.sleep(2 * LEASE)
        assert f"process {first.pid}" in refusal(home)
        first.send_signal(signal.SIGCONT)
        assert answer(first) == "lost: False"
        answer(first)


def test_the_owner_is_named_also_where_the_folder_can_only_be_read(disk):
    home = Storage(str(disk))
    home.write("launch-owner.json", ADA.to_bytes())
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert read_holder(home) == ADA


@pytest.mark.parametrize("content", [b"", b"{", bytes(400), None], ids=str)
def test_a_damaged_owner_is_unknown_and_keeps_nothing(home, content):
    flipped = ADA.to_bytes().replace(b'"pid": ', b'"pid": 1')
    home.write("launch-owner.json", flipped if content is None else content)
    notes = []
    with StudyLock(home).hold(note=notes.append):
        assert read_holder(home).pid == os.getpid()
    assert notes == ["the launch by an unknown process was interrupted; this one continues it"]


@pytest.mark.parametrize("name", ["launch-000007.lock", "launch-000007.free"])
def test_the_lock_file_of_an_earlier_version_blocks_nothing(home, name):
    home.write(name, earlier(ADA))
    assert read_holder(home) is None
    with StudyLock(home).hold(note=pytest.fail):
        assert all(is_lock(other) and other != name for other in home.names(""))
    remove_lock(home)
    assert home.names("") == []


def test_of_many_that_take_over_at_once_one_wins(home):
    with holder(home) as dead:
        assert said(dead) == "held"
    with ExitStack() as stack:
        takers = [stack.enter_context(holder(home, at_once=False)) for _ in range(5)]
        for process in takers:
            go(process)
        lines = [said(process) for process in takers]
        (winner,) = (p for p, line in zip(takers, lines, strict=True) if "was interrupted" in line)
        assert said(winner) == "held"
        assert read_holder(home).pid == winner.pid
        assert sum(f"process {winner.pid}, since" in line for line in lines) == 4


def test_of_many_threads_that_begin_at_once_one_wins(home):
    """Closer together than processes can be."""
    gate, held, refused = threading.Barrier(8), [], []

    def take():
        lock = StudyLock(home, LEASE)
        gate.wait()
        try:
            with lock.hold(note=held.append):
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


def test_a_second_launch_on_an_object_store_is_refused_when_the_first_is_seen_to_live(remote):
    notes = []
    with StudyLock(remote, LEASE).hold():
        assert f"process {os.getpid()}, since" in refusal(remote, note=notes.append)
        assert read_holder(remote).pid == os.getpid()
    assert "checking whether the launch by" in notes[0]
    assert read_holder(remote) is None
    with StudyLock(remote, LEASE).hold(note=pytest.fail):
        pass


@pytest.mark.parametrize("jump", [-1e8, 1e8])
@pytest.mark.parametrize("content", [ADA.to_bytes(), earlier(ADA)], ids=["ours", "earlier"])
def test_a_lease_that_is_not_renewed_is_taken_over_whatever_the_clocks_say(
    remote, content, jump, monkeypatch
):
    remote.write("launch-000001.lock", content)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    notes, before = [], time.monotonic()
    with StudyLock(remote, LEASE).hold(note=notes.append) as lock:
        assert time.monotonic() - before >= LEASE
        time.sleep(LEASE)
        assert not lock.lost
    assert notes[-1].startswith("no sign of life for 1 s from ada on lab7")


def test_who_waits_for_a_lease_begins_when_it_is_released(remote):
    notes = []
    with StudyLock(remote, 60).hold():
        waiting = threading.Thread(target=lambda: enter(StudyLock(remote, LEASE), notes))
        waiting.start()
        time.sleep(LEASE / 2)
        assert waiting.is_alive()
    waiting.join(30)
    assert notes[0].startswith("waiting for the launch by")
    assert notes[1:] == ["held"]


def enter(lock, notes):
    with lock.hold(wait=True, note=notes.append):
        notes.append("held")


def test_an_owner_that_was_taken_over_notices_and_leaves_the_lock_to_the_other(remote):
    with StudyLock(remote, LEASE).hold() as lock:
        remote.write("launch-000002.lock", ADA.to_bytes())
        deadline = time.monotonic() + 30
        while not lock.lost:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert read_holder(remote) == ADA


@pytest.mark.parametrize("content", [b"{", bytes(400)], ids=str)
def test_a_damaged_lease_is_taken_over(remote, content):
    remote.write("launch-000003.lock", content)
    notes = []
    with StudyLock(remote, LEASE).hold(note=notes.append):
        assert read_holder(remote).pid == os.getpid()
    assert "the lock is damaged" in notes[-1]


def test_of_many_that_take_over_a_lease_at_once_one_wins(remote):
    remote.write("launch-000001.lock", ADA.to_bytes())
    gate, held, refused = threading.Barrier(8), [], []

    def take():
        lock = StudyLock(remote, LEASE)
        gate.wait()
        try:
            with lock.hold(note=lambda _: None):
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


def test_a_slow_taker_finds_that_others_came_and_went(remote, monkeypatch):
    """It saw number 1 free, then slept while 2 was taken, released, and 3 taken."""
    remote.write("launch-000001.lock", b"")
    slow, create = StudyLock(remote, LEASE), remote.create

    def late(name, data):
        monkeypatch.setattr(remote, "create", create)
        with StudyLock(remote, LEASE).hold():
            pass
        held.enter_context(StudyLock(remote, LEASE).hold())
        return create(name, data)

    monkeypatch.setattr(remote, "create", late)
    with ExitStack() as held, pytest.raises(LockedError), slow.hold():
        pytest.fail("two launches at once")
    assert remote.names("") == ["launch-000003.lock"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    lock = StudyLock(Storage(str(tmp_path / "file" / "study")), LEASE)
    named = r"file/study/launch\.lock cannot be written \(Not a directory\)"
    with pytest.raises(StorageError, match=named), lock.hold():
        pytest.fail("there is no folder")


def test_passwords_of_urls_are_not_written(home, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["study", "launch", "x", "--tracking-uri", "http://u:pw@h/"])
    with StudyLock(home, LEASE).hold():
        text = home.read("launch-owner.json").decode()
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
        assert home.names("") == ["launch-owner.json", "launch.lock"]
        status = command("status", "tiny", "--storage", "store")
        assert "holds no study" in status[1]
    code, text = command(*arguments)
    assert code == 0
    assert "was interrupted; this one continues it" in text
