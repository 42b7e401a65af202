"""Records of a mounted folder: whole or absent, and a refusal of the system said by name."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from study.errors import InputError, StorageError
from study.storage.atomic import LEFT_AFTER
from study.storage.storage import Storage, write_atomic

REMEDY = {
    "ENOSPC": "free space there",
    "EDQUOT": "free space there",
    "EROFS": "make it writable, or give another folder",
    "EACCES": "make it writable, or give another folder",
    "EIO": "check that disk or store",
}


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "store"))


def test_a_folder_is_prepared_by_many_at_once_whatever_their_process_numbers(storage):
    """Drivers in containers are often process 1 each, and share the folder."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: storage.prepare(), range(200)))
    assert list(Path(storage.address).iterdir()) == []


@pytest.mark.parametrize("code", REMEDY)
@pytest.mark.parametrize(
    "act",
    [
        Storage.write,
        Storage.create,
        lambda storage, name, data: write_atomic(Path(storage.path(name)), data),
    ],
    ids=["write", "create", "write_atomic"],
)
def test_a_refused_write_is_named_and_changes_nothing(act, code, storage, monkeypatch, tmp_path):
    storage.write("old", b"old")
    number = getattr(errno, code)

    def refuse(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    path = tmp_path / "store" / "new"
    said = rf"{path} cannot be written \({os.strerror(number)}\); {REMEDY[code]}.*nothing that was"
    with pytest.raises(StorageError, match=said):
        act(storage, "new", b"new")
    assert [file.name for file in (tmp_path / "store").iterdir()] == ["old"]


def test_a_read_only_disk_refuses_every_change_and_can_be_read(disk):
    storage = Storage(str(disk))
    storage.write("a", b"1")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    changes = {
        "written": [lambda: storage.write("a", b"2"), lambda: storage.create("b", b"2")],
        "renamed": [lambda: storage.rename("a", "b"), lambda: storage.quarantine("a")],
        "removed": [lambda: storage.remove("a")],
    }
    for verb, acts in changes.items():
        for act in acts:
            with pytest.raises(StorageError, match=rf"{disk}/[ab] cannot be {verb} \(Read-only"):
                act()
    assert storage.read("a") == b"1"
    assert storage.names("") == ["a"]
    with pytest.raises(InputError, match=r"\(Read-only file system\); give another folder"):
        storage.prepare()


def test_what_a_killed_writer_left_goes_after_a_day(storage, monkeypatch):
    def killed(handle):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # as nothing runs after a kill
        for name in ("a", "b"):
            with pytest.raises(KeyboardInterrupt):
                storage.write(name, b"1")
    storage.write("c", b"1")
    old, fresh = Path(storage.path("")).glob(".writing-*")
    for path in (old, Path(storage.path("c"))):
        os.utime(path, (0, time.time() - LEFT_AFTER - 60))
    storage.prepare()
    assert (old.exists(), fresh.exists(), storage.names("")) == (False, True, ["c"])


def test_of_many_who_create_a_record_one_does(storage):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: storage.create("a", b"%d" % i), range(64)))
    assert sum(made) == 1
    assert storage.read("a") == b"%d" % made.index(True)
    assert storage.names("") == ["a"]


def test_without_hard_links_one_creates_all_the_same(storage, monkeypatch):
    def none(source, target):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", none)
    assert storage.create("a", b"1")
    assert not storage.create("a", b"2")
    assert storage.read("a") == b"1"


def test_damaged_records_of_one_name_are_all_kept(storage):
    for content in (b"1", b"2", b"3"):
        storage.write("a", content)
        storage.quarantine("a")
    assert storage.names("") == ["a.2.corrupt", "a.3.corrupt", "a.corrupt"]
    assert dict(storage.read_many(storage.names("")))["a.2.corrupt"] == b"2"


def test_names_with_the_signs_of_patterns_are_only_names(tmp_path):
    storage = Storage(str(tmp_path / "a[1]*"))
    storage.subfolder("study").write("x?.json", b"1")
    assert storage.find_folders_with("x?.json") == ["study"]
    assert dict(storage.subfolder("study").read_many(["x?.json"])) == {"x?.json": b"1"}
    assert storage.sizes("") == {"study/x?.json": 1}
    assert storage.subfolder("study").parent_folder.address == storage.address


KILLED = """
import os, sys, time
from pathlib import Path
from study.storage.storage import Storage
at, storage = sys.argv[1], Storage(sys.argv[2])
def stop(*_):
    print("now", flush=True)
    time.sleep(60)
if at == "before the flush":
    os.fsync = stop
else:
    Path.replace = stop
storage.write("a1.trial", b"half" * 1000)
"""


@pytest.mark.parametrize("at", ["before the flush", "before the rename"])
def test_a_killed_write_leaves_no_record(at, tmp_path):
    command = [sys.executable, "-c", KILLED, at, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    storage = Storage(str(tmp_path))
    assert storage.names("") == []
    assert not storage.exists("a1.trial")
    storage.write("a1.trial", b"whole")
    assert storage.read("a1.trial") == b"whole"
