"""Whatever stands in a stored file: what was written, or a named error; never a pickle that ran."""

import dataclasses
import hashlib
import logging
from functools import partial

import numpy as np
import pytest
from fuzz_records import (
    EMBEDDED,
    TRIAL_ID,
    checkpoint,
    checkpoints,
    damaged,
    dataset,
    hostile_archives,
    hostile_embeddings,
    json_texts,
    other_embeddings,
    result,
    split,
    states,
)
from fuzz_words import fuzzed, no_code_ran
from hypothesis import given

from study.artifacts.embeddings import EmbeddingStore
from study.data import pack
from study.data.cache import add_table_checksum, verify_table_checksum
from study.results.ledger import Ledger
from study.splits import Split
from study.storage.checksums import add_checksum, add_json_checksum
from study.storage.storage import Storage
from study.training.checkpoints import StoredCheckpoints

WHOLE, TABLE, SPLIT = result().to_bytes(), dataset(), split()
FAILURE = {"id": TRIAL_ID, "trial": "graph / fold 0", "cause": "the loss became nan"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ledger")


@pytest.fixture(scope="module")
def ledger(folder, cases):
    """Put these bytes where a record belongs, read it, and look whether it is sound."""
    found = Ledger(Storage(str(folder)))
    path = folder / f"{TRIAL_ID}.trial"

    def read(place, data):
        path.write_bytes(data)
        value = cases.outcome(place, lambda: checked(found.get(TRIAL_ID)))
        sound, aside = found.find_intact([TRIAL_ID])
        assert (sound, len(aside)) == (({TRIAL_ID}, 0) if value else (set(), 1))
        for other in folder.glob("*.corrupt*"):
            other.unlink()
        assert no_code_ran()
        return value

    return read


def checked(read):
    """A result that was accepted is of the right kinds and can be analysed."""
    assert (read.scores.dtype, read.test_labels.dtype) == (np.float32, np.uint8)
    assert read.test_rows.dtype == np.int64
    assert read.scores.shape == (len(read.test_rows), len(read.label_names))
    assert read.auroc.shape == (len(read.label_names),)
    return read


def test_whole_records_are_read(ledger, folder, cases):
    assert ledger("whole records", add_checksum(WHOLE)) == result()
    assert verify_table_checksum(add_table_checksum(TABLE), "x").digest == TABLE.digest
    assert Split.from_bytes(SPLIT.to_bytes(), "x").digest == SPLIT.digest


@fuzzed(700)
@given(data=damaged(add_checksum(WHOLE)))
def test_damaged_records(data, ledger):
    value = ledger("damaged records", data)
    assert value is None or value == result()


@fuzzed(700)
@given(payload=damaged(WHOLE))
def test_damage_under_a_right_checksum(payload, ledger):
    ledger("resealed damage", add_checksum(payload))


@fuzzed(900)
@given(payload=hostile_archives(WHOLE, "header.npy"))
def test_hostile_archives(payload, ledger):
    ledger("hostile archives", add_checksum(payload))


@fuzzed(400)
@given(text=json_texts(FAILURE), data=damaged(add_json_checksum(FAILURE)))
def test_failures(text, data, folder, cases):
    found = Ledger(Storage(str(folder)))
    path = folder / f"{TRIAL_ID}.failed.json"
    for place, content in (("failures", text.encode()), ("damaged failures", data)):
        path.write_bytes(content)
        (value,) = cases.outcome(place, lambda: found.failures([TRIAL_ID])) or [None]
        assert value is None or all(isinstance(each, str) for each in vars(value).values())
        path.unlink()


@fuzzed(500)
@given(other=other_embeddings, hostile=hostile_embeddings(), data=damaged(EMBEDDED))
def test_embeddings(other, hostile, data, folder, cases):
    store, path = EmbeddingStore(Storage(str(folder))), folder / f"{TRIAL_ID}.safetensors"
    for place, content in (
        ("other embeddings", other),
        ("hostile embeddings", hostile),
        ("damaged embeddings", data),
    ):
        path.write_bytes(content)
        value = cases.outcome(place, lambda: store.get(TRIAL_ID))
        assert value is None or (value.ndim, value.dtype) == (2, np.float32)
        path.unlink()
        assert no_code_ran()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # as of a file from elsewhere
@fuzzed(250)
@given(payload=checkpoints(checkpoint(TRIAL_ID)))
def test_checkpoints(payload, folder, cases):
    logging.disable()
    kept, path = (
        StoredCheckpoints(Storage(str(folder)), TRIAL_ID),
        folder / f"{TRIAL_ID}.checkpoint",
    )
    path.write_bytes(add_checksum(payload))
    value = cases.outcome("checkpoints", kept.load)
    assert value is None or isinstance(value, dict)
    assert path.exists() == (value is not None)
    for other in folder.glob("*.corrupt*"):
        other.unlink()
    assert no_code_ran()
    logging.disable(logging.NOTSET)


def read_table(data):
    """Read a table; one that is accepted keeps its rules and can be written again."""
    table = verify_table_checksum(data, "the place")
    assert dataclasses.replace(table).digest == table.digest
    assert verify_table_checksum(add_table_checksum(table), "x").digest == table.digest
    assert all(isinstance(name, str) for name in (*table.smiles, *table.label_names))


@fuzzed(600)
@given(payload=hostile_archives(pack(TABLE), "head.npy"), data=damaged(add_table_checksum(TABLE)))
def test_tables(payload, data, cases):
    sealed = hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload
    for place, content in (
        ("hostile tables", sealed),
        ("unsealed tables", payload),
        ("damaged tables", data),
    ):
        cases.outcome(place, partial(read_table, content))
        assert no_code_ran()


@fuzzed(500)
@given(content=states(SPLIT.to_state()), data=damaged(SPLIT.to_bytes()))
def test_splits(content, data, cases):
    for place, stored in (("hostile splits", content), ("damaged splits", data)):
        value = cases.outcome(place, partial(Split.from_bytes, stored, "the place"))
        assert value is None or Split.from_bytes(value.to_bytes(), "x").digest == value.digest
