"""Ledger records round-trip exactly, are written atomically, and damage is detected."""

import json
import mmap
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from study.artifacts.embeddings import EmbeddingStore
from study.errors import InputError, StorageError
from study.results.ledger import Failure, Ledger, LedgerError
from study.results.trial_result import TrialResult
from study.storage.checksums import add_checksum, verify_checksum
from study.storage.storage import Storage, write_atomic

TRIAL = {"features": [], "seed": 0}


def result(trial_id="a1", *, n=4, names=("floral", "green"), scores=None, **fields):
    rng = np.random.default_rng(0)
    shape = (n, len(names))
    return TrialResult(
        id=trial_id,
        trial=TRIAL,
        label_names=names,
        test_rows=np.arange(n),
        test_labels=rng.integers(0, 2, shape, dtype=np.uint8),
        scores=rng.random(shape, dtype=np.float32) if scores is None else scores,
        **fields,
    )


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Storage(str(tmp_path / "ledger")))


@given(data=st.data(), n=st.integers(1, 6), width=st.integers(1, 4))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_record_round_trips_exactly(data, n, width, ledger):
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
    stored = TrialResult(
        id="a1",
        trial=TRIAL,
        label_names=tuple(data.draw(st.lists(st.text(), min_size=width, max_size=width))),
        test_rows=data.draw(arrays(np.int64, n)),
        test_labels=data.draw(arrays(np.uint8, (n, width), elements=st.integers(0, 1))),
        scores=data.draw(arrays(np.float32, (n, width), elements=finite)),
        counts={"fit": data.draw(st.integers(0, 10**6))},
        history={"loss": tuple(data.draw(st.lists(st.floats(-1e300, 1e300), max_size=3)))},
        seconds=data.draw(st.floats(0, 1e9)),
        versions={"torch": data.draw(st.text())},
    )
    ledger.put(stored)
    read = ledger.get("a1")
    assert read == stored
    for name in ("test_rows", "test_labels", "scores"):
        before, after = getattr(stored, name), getattr(read, name)
        assert after.dtype == before.dtype
        assert after.tobytes() == before.tobytes()  # also -0.0 and subnormal numbers
    for name in ("id", "trial", "label_names", "counts", "history", "seconds", "versions"):
        assert getattr(read, name) == getattr(stored, name)


def test_equal_results_have_equal_bytes():
    assert result().to_bytes() == result().to_bytes()
    assert result() == result()
    other = result().scores.copy()
    other[0, 0] = np.nextafter(other[0, 0], np.float32(1))
    assert result(scores=other) != result()
    assert result("a2") != result()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((4, 3), np.float32), r"scores \(4, 3\) and labels \(4, 2\) must be \(4, 2\)"),
        (np.full((4, 2), np.nan, np.float32), "scores hold a value that is not finite"),
    ],
)
def test_invalid_results_are_rejected(scores, message):
    with pytest.raises(InputError, match=message):
        result(scores=scores)


def test_any_damaged_byte_is_detected():
    data = add_checksum(result(n=2).to_bytes())
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        for damaged in (flipped, data[:at]):
            with pytest.raises(LedgerError, match="the place"):
                verify_checksum(damaged, "the place")
    with pytest.raises(LedgerError):
        verify_checksum(data + b"0", "the place")
    assert verify_checksum(data, "the place") == result(n=2).to_bytes()


@pytest.mark.parametrize("damage", ["", "cut", "flip", "swap"])
def test_damaged_records_are_set_aside(damage, ledger, tmp_path):
    for name in ("a1", "b2"):
        ledger.put(result(name))
    record = tmp_path / "ledger" / "a1.trial"
    data = record.read_bytes()
    broken = {
        "": b"",
        "cut": data[:-1],
        "flip": data[:-1] + bytes([data[-1] ^ 255]),
        "swap": (tmp_path / "ledger" / "b2.trial").read_bytes(),  # sound, but of another trial
    }[damage]
    record.write_bytes(broken)
    with pytest.raises(LedgerError, match=r"a1\.trial"):
        ledger.get("a1")
    intact, damaged = ledger.find_intact(["a1", "b2", "c3"])
    assert intact == {"b2"}
    (message,) = damaged
    assert "a1.trial.corrupt" in message
    assert (tmp_path / "ledger" / "a1.trial.corrupt").read_bytes() == broken
    assert ledger.ids() == {"b2"}
    ledger.put(result("a1"))
    assert ledger.find_intact(["a1", "b2"]) == ({"a1", "b2"}, [])


def test_failure_is_stored_until_its_trial_succeeds(ledger):
    failure = Failure("a1", "graph / fold 0", "the loss became nan in epoch 3")
    ledger.put_failure(failure)
    assert ledger.failures(["a1", "b2"]) == [failure]
    assert ledger.ids() == set()
    ledger.put(result("a1"))
    assert ledger.failures(["a1"]) == []


def test_failures_with_and_without_traceback_round_trip(tmp_path, ledger):
    old = Failure("a1", "graph / fold 0", "the loss became nan in epoch 3")
    new = Failure("b2", "graph / fold 1", "KeyError: 'x'", "Traceback: line 3")
    ledger.put_failure(old)
    ledger.put_failure(new)
    assert sorted(ledger.failures(["a1", "b2"]), key=lambda failure: failure.id) == [old, new]
    texts = json.loads((tmp_path / "ledger" / "a1.failed.json").read_text())
    assert texts.keys() == {"sha256", "id", "trial", "cause"}
    file = tmp_path / "ledger" / "b2.failed.json"
    file.write_text(file.read_text().replace("line 3", "line 4"))
    with pytest.raises(LedgerError, match="checksum"):
        ledger.failures(["b2"])


def test_embeddings_round_trip_and_damage_is_set_aside(tmp_path):
    store = EmbeddingStore(Storage(str(tmp_path)))
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    store.put("a1", values)
    store.put("b2", values)
    assert store.get("a1").tobytes() == values.tobytes()
    record = tmp_path / "a1.safetensors"
    record.write_bytes(record.read_bytes()[:-1])
    intact, (damaged,) = store.find_intact({"a1", "b2", "c3"})
    assert intact == {"b2"}
    assert "a1.safetensors.corrupt" in damaged
    assert (tmp_path / "a1.safetensors.corrupt").exists()


def test_embeddings_of_earlier_format_are_ignored(tmp_path):
    store = EmbeddingStore(Storage(str(tmp_path)))
    earlier = tmp_path / "a1.embeddings"
    earlier.write_bytes(b"olfaction-study trial 1 ...")
    assert (store.ids(), store.find_intact({"a1"})) == (set(), (set(), []))
    store.put("a1", np.zeros((2, 1), np.float32))
    assert store.find_intact({"a1"}) == ({"a1"}, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a1.embeddings", "a1.safetensors"]


def test_mapped_embeddings_survive_rewriting(tmp_path):
    store = EmbeddingStore(Storage(str(tmp_path)))
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    store.put("a1", values)
    mapped = base = store.get("a1")
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
    store.put("a1", -values)
    np.testing.assert_array_equal(mapped, values)
    np.testing.assert_array_equal(store.get("a1"), -values)


def test_other_files_are_not_records(tmp_path, ledger):
    ledger.put(result("a1"))
    for name in (".writing-x.trial", "b2.trial.corrupt", "c3.failed.json", "readme.txt"):
        (tmp_path / "ledger" / name).write_text("x")
    assert ledger.ids() == {"a1"}


def test_missing_folder_is_an_empty_ledger(tmp_path):
    assert Ledger(Storage(str(tmp_path / "none"))).ids() == set()
    assert not (tmp_path / "none").exists()


def test_storage_below_a_file_is_rejected(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"storage '.*file/below' cannot be written \(.*run\.stor"):
        Storage(str(tmp_path / "file" / "below")).prepare()


def test_write_test_leaves_no_file(tmp_path):
    Storage(str(tmp_path / "new")).prepare()
    assert list((tmp_path / "new").iterdir()) == []


def test_failed_write_leaves_the_old_record(tmp_path, monkeypatch):
    path = tmp_path / "record"
    write_atomic(path, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"record cannot be written \(No space .* free space"):
        write_atomic(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("record", b"old")]
