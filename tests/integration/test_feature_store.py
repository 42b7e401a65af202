"""The store under many processes, kills and damage."""

import multiprocessing
import shutil
import warnings
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

import numpy as np
import pytest
from safetensors.numpy import load_file
from store_words import Letters, die_while_writing, fill_all

from modalities import FeatureStore, FeatureStoreWarning, ModalityError
from modalities.store.arrays import CorruptFileError, pack_arrays, unpack_arrays
from modalities.store.feature_store import BUCKETS, find_bucket

SMILES = tuple("C" * size + end for size in range(1, 41) for end in ("", "O", "N"))


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def letters(tmp_path):
    return Letters(tmp_path / "log")


def check(features, smiles=SMILES):
    assert features.smiles == tuple(smiles)
    for row, text in enumerate(smiles):
        assert bytes(features.fields["codes"][row]).decode() == text
        assert features.matrix("length")[row, 0] == len(text)


def files_of(store, kind):
    return sorted(store.root.glob(f"*/{kind}/*.safetensors"))


def spawn():
    return multiprocessing.get_context("spawn")


def test_missing_is_all_then_what_is_new_then_nothing(store, letters):
    shards = store.missing(letters, SMILES)
    assert sorted(text for shard in shards for text in shard.smiles) == sorted(SMILES)
    assert all(find_bucket(text) == shard.bucket for shard in shards for text in shard.smiles)
    assert len({shard.bucket for shard in shards}) == len(shards) <= BUCKETS
    assert [store.fill(letters, shard) for shard in shards] == [len(s.smiles) for s in shards]
    assert store.missing(letters, SMILES) == ()
    (shard,) = store.missing(letters, (*SMILES, "S", "S"))
    assert shard.smiles == ("S",)


def test_load_assembles_in_order_and_makes_every_molecule_once(store, letters):
    check(store.load(letters, SMILES))
    check(store.load(letters, SMILES[::-1]), SMILES[::-1])
    check(store.load(letters, SMILES[5:9]), SMILES[5:9])
    assert sorted(letters.made()) == sorted(SMILES)


def test_second_load_is_the_memory_mapped_table(store, letters):
    store.load(letters, SMILES)
    for bucket in files_of(store, "buckets"):
        bucket.unlink()
    again = store.load(letters, SMILES)
    check(again)
    assert not again.fields["codes"].values.flags.owndata
    assert not again.fields["codes"].values.flags.writeable
    assert len(letters.made()) == len(SMILES)


def test_versions_do_not_share_features(store, letters, tmp_path):
    store.load(letters, SMILES)
    newer = Letters(tmp_path / "newer", version="letters 2")
    assert len(store.missing(newer, SMILES)) == len(store.missing(Letters("x", "v 3"), SMILES))
    store.load(newer, SMILES)
    assert len(newer.made()) == len(SMILES)


def test_processes_that_meet_share_the_work(store, letters):
    with ProcessPoolExecutor(4, mp_context=spawn()) as pool:
        made = list(pool.map(fill_all, repeat(store.root), repeat(letters.log), [SMILES] * 4))
    assert sum(made) == len(SMILES)
    assert sorted(letters.made()) == sorted(SMILES)
    check(store.load(letters, SMILES))
    assert store.quarantined() == ()


def test_a_writer_killed_before_the_rename_leaves_nothing_that_counts(store, letters):
    child = spawn().Process(target=die_while_writing, args=(store.root, letters.log, SMILES))
    child.start()
    child.join()
    assert child.exitcode == -9
    assert len(list(store.root.rglob(".writing-*"))) == 1
    assert files_of(store, "buckets") == []
    check(store.load(letters, SMILES))
    assert list(store.root.rglob(".writing-*")) == []


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "header flipped":
        content[20] ^= 1
    else:
        del content[how:]
    path.write_bytes(content)


@pytest.mark.parametrize("how", [0, 5, 30, 44, 200, -1, "flipped", "header flipped"])
@pytest.mark.parametrize("kind", ["buckets", "tables"])
def test_a_damaged_file_is_set_aside_made_again_and_said(store, letters, kind, how):
    store.load(letters, SMILES)
    victim = files_of(store, kind)[0]
    damage(victim, how)
    if kind == "buckets":
        files_of(store, "tables")[0].unlink()
    with pytest.warns(FeatureStoreWarning, match=f"{victim.name}.* was set aside"):
        check(store.load(letters, SMILES))
    assert store.quarantined() == (victim.with_name(f"{victim.name}.corrupt"),)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(store.load(letters, SMILES))


def test_files_of_an_earlier_format_are_made_again_and_not_called_damaged(store, letters):
    store.load(letters, SMILES)
    for kind in ("buckets", "tables"):
        for path in files_of(store, kind):
            path.with_suffix(".features").write_bytes(b"ODORFEA1" + path.read_bytes())
            path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(store.load(letters, SMILES))
    assert sorted(letters.made()) == sorted(SMILES * 2)
    assert store.quarantined() == ()


def test_a_flip_of_any_bit_of_a_file_is_found(store, letters):
    store.load(letters, ("C",))
    (path,) = files_of(store, "tables")
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            with pytest.raises(CorruptFileError, match="the place"):
                unpack_arrays(memoryview(flipped), "the place")


def test_a_file_is_what_the_safetensors_library_reads(store, letters):
    features = store.load(letters, SMILES)
    found = load_file(files_of(store, "tables")[0])
    assert found["smiles"].tobytes().decode().split("\n") == list(SMILES)
    np.testing.assert_array_equal(found["codes/values"], features.fields["codes"].values)


def test_arrays_of_text_are_refused():
    with pytest.raises(ModalityError, match="'words' has dtype <U3, which cannot be stored"):
        pack_arrays({"words": np.array(["one"])}, {})


def test_a_sound_file_of_another_version_is_not_believed(store, letters, tmp_path):
    store.load(letters, SMILES)
    other = Letters(tmp_path / "other", version="letters 2")
    source = files_of(store, "buckets")[0]
    store.load(other, SMILES)
    victim = next(path for path in files_of(store, "buckets") if path.parent != source.parent)
    shutil.copy(source, victim.with_name(source.name))
    with pytest.warns(FeatureStoreWarning, match="holds features of 'letters 1'"):
        assert len(store.missing(other, SMILES)) == 1


def test_unrepresentable_molecules_are_named_together_and_nothing_is_written(store, letters):
    bad = [f"C?{number}" for number in range(300)]
    shard = next(s for s in store.missing(letters, bad) if len(s.smiles) > 5)
    with pytest.raises(ModalityError) as caught:
        store.fill(letters, shard)
    message = str(caught.value)
    assert f"molecule '{shard.smiles[0]}' has a question mark" in message
    assert f"and {len(shard.smiles) - 5} more" in message
    assert files_of(store, "buckets") == []
    assert list(store.root.rglob(".writing-*")) == []


def test_a_bad_molecule_does_not_touch_its_bucket(store, letters):
    store.load(letters, SMILES)
    before = {path: path.read_bytes() for path in files_of(store, "buckets")}
    with pytest.raises(ModalityError, match="molecule 'C\\?' has a question mark"):
        store.load(letters, (*SMILES, "C?"))
    assert {path: path.read_bytes() for path in files_of(store, "buckets")} == before


def test_an_empty_table_is_refused(store, letters):
    with pytest.raises(ModalityError, match="at least one molecule"):
        store.load(letters, ())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModalityError, match=r"file/store cannot be used .*choose another folder"):
        FeatureStore(tmp_path / "file" / "store")


def test_a_folder_that_became_a_file_is_named(store, letters):
    shard = store.missing(letters, SMILES)[0]
    store.root.rmdir()
    store.root.write_text("now a file")
    for use in (lambda: store.load(letters, SMILES), lambda: store.fill(letters, shard)):
        with pytest.raises(ModalityError, match=r"store/.* cannot be used .*another folder"):
            use()


def test_a_full_disk_is_an_error_that_leaves_the_bucket_as_it_was(store, letters, monkeypatch):
    store.load(letters, SMILES[:60])
    before = {path: path.read_bytes() for path in files_of(store, "buckets")}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ModalityError, match="No space left on device"):
        store.load(letters, SMILES)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in files_of(store, "buckets")} == before
    assert list(store.root.rglob(".writing-*")) == []
    check(store.load(letters, SMILES))


def test_features_of_every_type_come_back_equal(tmp_path):
    from modalities._base import ModalityFeatures, Ragged
    from modalities.store.files import read_features, write_features

    arrays = [
        np.zeros((0, 4), dtype=np.int16),
        np.arange(6, dtype=np.float64).reshape(3, 2) / 7,
        np.array([[np.nan, -np.inf]], dtype=np.float32),
        np.arange(12, dtype=np.uint8).reshape(2, 3, 2).transpose(1, 0, 2),
    ]
    fields = {
        f"field {number}": Ragged(array, np.array([0, len(array)], dtype=np.int64))
        for number, array in enumerate(arrays)
    }
    write_features(tmp_path / "f", ModalityFeatures("v é", ("C/C=C\\C",), fields))
    found = read_features(tmp_path / "f")
    assert (found.version, found.smiles, list(found.fields)) == ("v é", ("C/C=C\\C",), [*fields])
    for name, field in fields.items():
        np.testing.assert_array_equal(found.fields[name].values, field.values, strict=True)
        np.testing.assert_array_equal(found.fields[name].offsets, field.offsets, strict=True)
