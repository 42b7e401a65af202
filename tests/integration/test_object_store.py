"""A study whose storage is a bucket, over the protocol of S3."""

import subprocess
import sys
from pathlib import PurePosixPath

import numpy as np
import pytest
import yaml

from study.api import load_results
from study.errors import InputError, StorageError
from study.results.study_results import load_snapshot
from study.runner.launcher import LaunchOptions, run_study
from study.storage.lock import LockedError, StudyLock, read_holder
from study.storage.mirror import LocalMirror, local_folder
from study.storage.storage import Storage
from study.training import tasks


@pytest.fixture
def store(bucket, request):
    """A folder of the bucket for one test."""
    return Storage(f"{bucket}/{request.node.name.replace('[', '-').rstrip(']')}")


@pytest.fixture
def move(monkeypatch, tmp_path):
    """A function that makes this process one of another machine: it has no copies of anything."""

    def begin():
        monkeypatch.setenv("OLFACTION_CACHE", str(tmp_path / "other machine"))
        tasks.load_data.cache_clear()

    yield begin
    tasks.load_data.cache_clear()


def test_records_read_back_and_listings_are_fresh(store):
    assert store.names("") == []
    store.prepare()
    assert store.names("") == []
    for number in range(40):
        store.write(f"a{number:02d}.trial", b"x" * number)
    assert len(store.names(".trial")) == 40
    names = ["a03.trial", "a39.trial", "none.trial"]
    assert dict(store.read_many(names)) == {"a03.trial": b"xxx", "a39.trial": b"x" * 39}
    store.remove("a03.trial")
    store.remove("a03.trial")
    assert not store.exists("a03.trial")
    with pytest.raises(FileNotFoundError):
        store.read("a03.trial")
    assert store.quarantine("a04.trial") == f"{store.url}/a04.trial.corrupt"
    assert len(store.names(".trial")) == 38
    store.subfolder("deep").write("one", b"1")
    assert store.find_folders_with("one") == ["deep"]
    store.clear()
    assert store.names("") == []


def test_of_two_who_create_a_record_one_does(store):
    assert store.create("lock", b"one")
    assert not store.create("lock", b"two")
    assert store.read("lock") == b"one"


def test_a_bucket_that_is_not_there_is_named_and_not_made(bucket):
    other = Storage("s3://nobodys/studies")
    with pytest.raises(InputError, match=r"storage 's3://nobodys/studies' cannot be written \("):
        other.prepare()
    with pytest.raises(StorageError, match=r"s3://nobodys/studies/a cannot be written \("):
        other.write("a", b"")


def test_a_store_that_does_not_answer_is_named(bucket, monkeypatch):
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(StorageError, match=r"s3://studies/x/a cannot be read \(.*launch|again"):
            Storage("s3://studies/x").read("a")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(InputError, match="holds a password") as caught:
        Storage("s3://me:hunter2@bucket/folder")
    assert "hunter2" not in str(caught.value)


def test_keys_of_the_store_never_lead_out_of_the_copies(store):
    mirror = LocalMirror(store)
    store._fs.pipe_file(f"{store._root}/features/../../../out.txt", b"x")
    store.write("features/a.txt", b"x")
    mirror.pull(mirror.root / "features")
    assert [file.name for file in mirror.root.rglob("*") if file.is_file()] == ["a.txt"]
    with pytest.raises(InputError, match=r"'\.\.' in its path"):
        local_folder(Storage("s3://studies/../../x"))


def test_a_launch_goes_on_from_any_machine(store, tiny, spec_of, run_tiny, launched, move):
    study, record, notes = run_tiny(spec_of(tiny, store.url))
    assert record.missing == 0
    assert (notes.stages["encoders"], notes.stages["trials"]) == (1, 8)
    for trial_id, result in launched[1].by_id.items():
        np.testing.assert_array_equal(record.by_id[trial_id].scores, result.scores)

    _, _, notes = run_tiny(spec_of(tiny, store.url))
    assert notes.notes == ["10 trials, 10 already in the ledger"]
    assert notes.stages == {}

    move()
    assert load_snapshot(store.subfolder("tiny")).missing == 0
    results = load_results("tiny", store.url)
    assert results.complete
    assert results.arms()["features"].str.contains("counts").any()
    single = next(t for t in study.plan.trials() if t.arm.technique == "mlp_head")
    store.subfolder("ledger").remove(f"{study.data.trial_id(single)}.trial")
    _, record, notes = run_tiny(spec_of(tiny, store.url))
    assert notes.stages == {"trials": 1}  # features and embeddings came from the store
    assert record.missing == 0


@pytest.mark.filterwarnings("ignore::modalities.FeatureStoreWarning")
def test_damage_in_the_store_is_set_aside_and_redone(store, tiny, spec_of, run_tiny, move):
    tiny["grid"] = [{"features": [["characters"]]}]
    run_tiny(spec_of(tiny, store.url))
    one_of_each = {PurePosixPath(name).parent: name for name in store.sizes("cache")}
    names = [*one_of_each.values(), *store.sizes("ledger"), *store.sizes("tiny")]
    for name in names:
        data = store.read(name)
        store.write(name, data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    move()
    _, record, notes = run_tiny(spec_of(tiny, store.url))
    assert record.missing == 0
    said = "\n".join(text for text in notes.notes if "damaged" in text)
    for name in names:
        assert f"{name}.corrupt" in said


def test_two_launches_at_once_are_refused(store):
    first, second = StudyLock(store, 2), StudyLock(store, 2)
    with first.hold(), pytest.raises(LockedError, match="give --wait"), second.hold():
        pytest.fail("two launches at once")
    with StudyLock(store, 2).hold():
        pass
    assert read_holder(store) is None


def test_a_launch_says_no_key(store, tiny, spec_of, capfd):
    tiny["grid"] = [{"features": [["counts"]]}]
    assert run_study(spec_of(tiny, store.url), LaunchOptions(ray=False, mlflow=False))
    everything = "".join(capfd.readouterr())
    assert f"results: {store.url}/ledger" in everything
    everything += "".join(store.read(name).decode("latin-1") for name in store.sizes(""))
    assert "known-to-nobody" not in everything
    assert "AKIANOBODY" not in everything


def test_the_processes_of_a_cluster_share_a_bucket(store, tiny, tmp_path):
    tiny["grid"] = [{"features": [["counts"]]}]
    tiny["run"] = {"storage": store.url}
    folder, file = tmp_path / "empty", tmp_path / "tiny.yaml"
    folder.mkdir()
    file.write_text(yaml.safe_dump(tiny))
    home = store.subfolder("tiny")
    home.write("", b"")  # as Ray's own file system keeps a folder
    command = [sys.executable, "-m", "study", "launch", str(file), "--no-mlflow"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = load_snapshot(home)
    assert (record.missing, record.failures) == (0, ())
    assert len(record.by_id) == 2
    assert home.subfolder("scratch").sizes("") == {}
    assert list(folder.iterdir()) == []  # no folder called s3: either
