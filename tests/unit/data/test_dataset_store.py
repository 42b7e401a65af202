"""The cache of curated data sets: hits, keys, and damaged entries."""

import numpy as np
import pytest

from study.data import CacheWarning, DatasetConfig, cache, load_or_build
from study.errors import StorageError


@pytest.fixture
def csv_recipe(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("smiles,sweet\nCCO,1\nCCC,0\n", encoding="utf-8")
    sources = [{"source": "csv", "file": str(path)}]
    return DatasetConfig.model_validate({"sources": sources, "unlabelled": "keep"}), path


def same(a, b):
    return (
        (a.name, a.smiles, a.label_names, a.steps, dict(a.sources), a.digest)
        == (b.name, b.smiles, b.label_names, b.steps, dict(b.sources), b.digest)
    )  # fmt: skip


def never(recipe):
    pytest.fail("the table was built again")


def test_second_call_reads_the_same_data_set(csv_recipe, tmp_path, monkeypatch):
    recipe, _ = csv_recipe
    built = load_or_build(recipe, tmp_path / "cache")
    monkeypatch.setattr("study.data.curation.build_dataset", never)
    assert same(load_or_build(recipe, tmp_path / "cache"), built)


def test_ratings_survive(archive, tmp_path):
    recipe = DatasetConfig.model_validate({"preset": "keller", "archive": archive})
    built = load_or_build(recipe, tmp_path / "cache")
    read = load_or_build(recipe, tmp_path / "cache")
    assert same(read, built)
    np.testing.assert_array_equal(read.ratings, built.ratings)


def test_changed_source_makes_another_table(csv_recipe, tmp_path):
    recipe, path = csv_recipe
    first = load_or_build(recipe, tmp_path / "cache")
    path.write_text("smiles,sweet\nCCO,1\nCCC,1\n", encoding="utf-8")
    assert load_or_build(recipe, tmp_path / "cache").digest != first.digest


def test_changed_recipe_and_changed_code_make_another_key(csv_recipe, monkeypatch):
    recipe, _ = csv_recipe
    key = cache.entry_key(recipe)
    assert cache.entry_key(recipe.model_copy(update={"key": "isomeric"})) != key
    monkeypatch.setattr(cache, "code_digest", lambda: "another")
    assert cache.entry_key(recipe) != key


@pytest.mark.parametrize("kept", [slice(None, -20), slice(0), slice(1, None)])
def test_a_damaged_entry_is_quarantined_and_rebuilt(csv_recipe, tmp_path, kept):
    recipe, _ = csv_recipe
    cache = tmp_path / "cache"
    built = load_or_build(recipe, cache)
    (entry,) = cache.iterdir()
    entry.write_bytes(entry.read_bytes()[kept])
    with pytest.warns(CacheWarning, match=r"set aside as .*corrupt, rebuilt \(.*checksum"):
        again = load_or_build(recipe, cache)
    assert same(again, built)
    assert {path.suffix for path in cache.iterdir()} == {".table", ".corrupt"}
    assert same(load_or_build(recipe, cache), built)


def test_an_unwritable_folder_is_refused(csv_recipe, tmp_path):
    recipe, path = csv_recipe
    with pytest.raises(StorageError, match=r"mine.csv/.* \(Not a directory\); .*another folder"):
        load_or_build(recipe, path)


def test_full_disk_leaves_nothing_behind(csv_recipe, tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    recipe, _ = csv_recipe
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(StorageError, match=r"\(No space left on device\); free space there"):
        load_or_build(recipe, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
