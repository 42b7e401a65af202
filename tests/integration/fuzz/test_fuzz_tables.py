"""Whatever stands in a table of odors: a checked data set and a split of it, or a named error."""

from contextlib import contextmanager

import pytest
from fuzz_tables import (
    ARCHIVE_SOURCES,
    archive_files,
    archive_tables,
    broken,
    own_options,
    own_tables,
    read_tables,
    recipes,
    splits,
    thresholds,
)
from fuzz_words import fuzzed
from hypothesis import given
from hypothesis import strategies as st

from study.config.loading import check_study
from study.data import DatasetConfig, build_dataset, curate, describe, pack, unpack
from study.splits import Split, make_split


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OLFACTION_ARCHIVE", raising=False)
        yield found


@pytest.fixture(scope="module")
def archive(folder):
    """An archive folder, some of whose files are others for a while."""
    whole = archive_tables()
    place = folder / "archive"
    for name in whole:
        (place / name).parent.mkdir(parents=True, exist_ok=True)

    def write(files):
        for name, data in files.items():
            (place / name).write_bytes(data)

    write(whole)

    @contextmanager
    def changed(files):
        write(files)
        yield place
        write({name: whole[name] for name in files})

    return changed


def recipe_of(data):
    """Read the section ``data`` as a study file does."""
    raw = {"name": "fuzzed", "data": data, "grid": [{"features": [["mordred"]]}]}
    return check_study(raw, "fuzzed.yaml").data


@pytest.fixture(scope="module")
def use(folder, cases):
    """Build a table, and split it: two cases, each held to the rule."""

    def run(place, build, options):
        dataset = cases.outcome(place, lambda: described(build()))
        if dataset is not None:
            cases.outcome(f"splits of {place}", lambda: divided(dataset, options, folder / "split"))

    return run


def described(dataset):
    """A table that was accepted keeps its own rules, describes itself and survives its record."""
    assert dataset.labels.any(axis=0).all()
    describe(dataset)
    assert unpack(pack(dataset)).digest == dataset.digest
    return dataset


def divided(dataset, options, path):
    """A split that was made survives its file."""
    split = make_split(
        dataset.smiles,
        dataset.labels,
        label_names=dataset.label_names,
        dataset_digest=dataset.digest,
        **options,
    )
    split.save(path)
    assert Split.load(path, dataset_digest=dataset.digest).digest == split.digest


@fuzzed(1_200)
@given(data=own_tables(), options=own_options, more=recipes, split=splits)
def test_own_tables(data, options, more, split, folder, use):
    path = folder / "mine.csv"
    path.write_bytes(data)
    section = {"sources": [{"source": "csv", "file": str(path), **options}], **more}
    use("own tables", lambda: build_dataset(recipe_of(section)), split)


@fuzzed(800)
@given(data=broken(own_tables()), split=splits)
def test_broken_tables(data, split, folder, use):
    path = folder / "mine.csv"
    path.write_bytes(data)
    section = {"sources": [{"source": "csv", "file": str(path)}], "unlabelled": "keep"}
    use("broken tables", lambda: build_dataset(recipe_of(section)), split)


@fuzzed(800)
@given(
    files=archive_files(),
    word=st.sampled_from([*ARCHIVE_SOURCES]),
    more=recipes,
    threshold=st.none() | thresholds,
    split=splits,
)
def test_archives(files, word, more, threshold, split, archive, use):
    with archive(files) as place:
        section = {"sources": [word], "archive": str(place), **more}
        if threshold is not None:
            section["threshold"] = threshold
        use("archives", lambda: build_dataset(recipe_of(section)), split)


@fuzzed(800)
@given(tables=read_tables(), more=recipes, split=splits)
def test_what_sources_could_read(tables, more, split, use):
    recipe = DatasetConfig(sources=("starter",), **{"vocabulary": "union", **more})
    use("read tables", lambda: curate(tables, recipe), split)
