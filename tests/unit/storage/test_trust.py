"""Nothing that is read from a storage is executed, even with the right checksum."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from study.artifacts.embeddings import EmbeddingStore
from study.data import DatasetConfig, cache, load_or_build
from study.results.ledger import Ledger, LedgerError
from study.storage.checksums import add_checksum
from study.storage.storage import Storage
from study.training.checkpoints import StoredCheckpoints


class Hostile:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def hostile(tmp_path):
    """An object that must not be unpickled; first it is shown to leave its mark."""
    value = Hostile(tmp_path / "mark")
    pickle.loads(pickle.dumps(value))  # noqa: S301 (the proof)
    assert value.mark.exists()
    value.mark.unlink()
    yield value
    assert not value.mark.exists()


def save_to_bytes(save, *values, **arrays):
    buffer = io.BytesIO()
    save(buffer, *values, **arrays)
    return buffer.getvalue()


def test_a_hostile_checkpoint_is_quarantined(hostile, tmp_path):
    storage = Storage(str(tmp_path / "store"))
    for content in (
        save_to_bytes(lambda file, value: torch.save(value, file), hostile),
        pickle.dumps(hostile, protocol=2),
    ):
        storage.write("a1.checkpoint", add_checksum(content))
        assert StoredCheckpoints(storage, "a1").load() is None
    assert storage.names("") == ["a1.checkpoint.2.corrupt", "a1.checkpoint.corrupt"]


def test_hostile_records_and_embeddings_are_quarantined(hostile, tmp_path):
    storage = Storage(str(tmp_path / "store"))
    array = np.array([hostile], dtype=object)
    fields = {"header": array, "test_rows": array, "test_labels": array, "scores": array}
    storage.write("a1.trial", add_checksum(save_to_bytes(np.savez, **fields)))
    entry = {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}
    header = json.dumps({"embeddings": entry, "__metadata__": {"job": "a1", "sha256": "0" * 64}})
    content = len(header).to_bytes(8, "little") + header.encode() + pickle.dumps(hostile)[:8]
    storage.write("a1.safetensors", content)
    with pytest.raises(LedgerError, match=r"a1\.trial; launch the study again"):
        Ledger(storage).get("a1")
    assert Ledger(storage).find_intact(["a1"])[0] == set()
    assert EmbeddingStore(storage).find_intact({"a1"})[0] == set()
    assert storage.names("") == ["a1.safetensors.corrupt", "a1.trial.corrupt"]


def test_a_hostile_table_is_quarantined(hostile, tmp_path, monkeypatch):
    table = tmp_path / "mine.csv"
    table.write_text("smiles,sweet\nCCO,1\nCCC,0\n", encoding="utf-8")
    source = {"source": "csv", "file": str(table)}
    recipe = DatasetConfig.model_validate({"sources": [source], "unlabelled": "keep"})
    array = np.array([hostile], dtype=object)
    payload = save_to_bytes(np.savez, head=array, smiles=array, labels=array, ratings=array)
    monkeypatch.setattr(cache, "pack", lambda _: payload)
    storage, notes = Storage(str(tmp_path / "store")), []
    load_or_build(recipe, storage)
    monkeypatch.undo()
    assert len(load_or_build(recipe, storage, notes.append)) == 2
    assert "set aside" in notes[0]
