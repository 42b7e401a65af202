"""Storage that takes no more, or nothing at all: named, nothing lost, nothing redone."""

import subprocess

import pytest
import yaml


@pytest.fixture
def launch(command, tiny, tmp_path, disk):
    """Launch the tiny study on the disk; -> exit code and all that was printed."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    options = ["--storage", disk / "studies", "--no-ray", "--no-mlflow"]
    return lambda: command("launch", "tiny.yaml", *options)


def files_of(folder, pattern):
    return {file: file.stat().st_mtime_ns for file in (folder / "studies").rglob(pattern)}


def fill(disk, left):
    """Take all room of a disk but so many bytes."""
    room = 8 * 1024 * 1024 - int(subprocess.check_output(["du", "-sB1", disk]).split()[0])
    (disk / "ballast").write_bytes(bytes(room - left))


def check_ended(code, said, disk):
    assert code == 3
    assert f"{disk}/studies/" in said
    assert "(No space left on device); free" in said
    assert "nothing that was finished is lost" in said
    assert not files_of(disk, ".writing-*")


def check_complete(code, said, disk, kept):
    assert code == 0
    assert f"10 trials, {len(kept)} already in the ledger" in said
    assert files_of(disk, "*.trial").items() >= kept.items()
    assert not files_of(disk, "*.corrupt")


@pytest.mark.parametrize("left", [40_000, 300_000, 480_000])
def test_a_disk_that_fills_up_anywhere_is_named_and_nothing_is_lost(left, disk, launch):
    fill(disk, left)
    check_ended(*launch(), disk)
    kept = files_of(disk, "*.trial")
    (disk / "ballast").unlink()
    check_complete(*launch(), disk, kept)


def test_a_disk_that_is_full_among_the_trials_is_named_and_nothing_is_lost(disk, launch):
    assert launch()[0] == 0
    kept = files_of(disk, "*.trial")
    for _ in range(4):
        kept.popitem()[0].unlink()
    fill(disk, 0)
    check_ended(*launch(), disk)
    assert files_of(disk, "*.trial") == kept
    (disk / "ballast").unlink()
    check_complete(*launch(), disk, kept)


def test_a_disk_without_any_room_is_bad_input(disk, launch):
    fill(disk, 0)
    code, said = launch()
    assert code == 2
    assert "(No space left on device); free space there" in said
    assert not (disk / "studies" / "tiny").exists()


def test_a_read_only_storage_refuses_a_launch_and_can_be_read(disk, launch, command):
    code, _ = launch()
    assert code == 0
    reading = [
        ("compare", "tiny", "--storage", disk / "studies"),
        ("status", "tiny", "--storage", disk / "studies"),
    ]
    before = [command(*each) for each in reading]
    next(iter(files_of(disk, "*.trial"))).unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    code, said = launch()
    assert code == 2
    assert f"{disk}/studies" in said
    assert "(Read-only file system); give another folder" in said
    assert "Traceback" not in said
    code, said = command(*reading[0])
    assert code == 3
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert launch()[0] == 0
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert [command(*each) for each in reading] == before
