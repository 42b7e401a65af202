"""The public archives, where OLFACTION_ARCHIVE says they are: sizes known from the design."""

import pytest

from modalities import sha256_of
from study.data import DatasetConfig, build_dataset, download
from study.data.chemistry import parse_structure
from study.plugins.registry import Registry

pytestmark = pytest.mark.archives


def build(real_archive, preset):
    return build_dataset(DatasetConfig.model_validate({"preset": preset, "archive": real_archive}))


def test_shipped_hashes_are_those_of_the_archive(real_archive):
    files = download.read_archive_registry()["files"]
    wrong = [n for n, f in files.items() if sha256_of(real_archive / n) != f["sha256"]]
    assert wrong == []


@pytest.fixture(scope="module")
def headline(real_archive):
    return build(real_archive, "gs-lf-ifra")


def test_headline_table_has_the_91_labels_of_the_published_one(headline):
    assert len(headline.label_names) == 91
    # spellings on which the published table and the archives differ, or that nearly stay out
    assert {"odorless", "musk", "caramellic", "tropical", "jasmin", "rummy"} <= set(
        headline.label_names
    )
    assert not {"black currant", "meaty", "winey"} & set(headline.label_names)


def test_headline_table_has_about_4900_molecules(headline):
    assert abs(len(headline) - 4904) <= 10
    assert headline.positives.min() >= 27
    assert [step.after for step in headline.steps[:3]] == [4622, 3522, 1146]


def test_seed_like_table_has_about_5690_molecules_and_is_flagged(real_archive):
    dataset = build(real_archive, "seed-like")
    assert len(dataset.label_names) == 91
    assert abs(len(dataset) - 5692) <= 10
    assert any("split by constitution" in step.note for step in dataset.steps)


@pytest.mark.parametrize(("measure", "least"), [("applicability", 40), ("use", 55)])
def test_dravnieks_is_138_molecules_by_146(real_archive, measure, least):
    source = Registry("source").load("dravnieks_1985")(measure=measure)
    table = source.read(real_archive)
    assert (len(table.entries), len(table.vocabulary)) == (138, 146)
    sources = [{"source": "dravnieks_1985", "measure": measure}]
    recipe = {"preset": "dravnieks", "archive": real_archive, "sources": sources}
    dataset = build_dataset(DatasetConfig.model_validate(recipe))
    assert len(dataset) == 138
    assert len(dataset.label_names) >= least
    assert dataset.ratings.shape == dataset.labels.shape


def test_dravnieks_wide_table_agrees_with_the_long_one(real_archive):
    """The archive holds the same ratings twice; the long table is an independent reading."""
    from study.data.tables import read_rows, read_structures

    rows = read_rows(real_archive / "prediction_targets" / "dravnieks_1985.csv")
    smiles = read_structures(real_archive / "dravnieks_1985" / "molecules.csv")
    long = {(smiles[r["CID"][:-2]], r["Descriptor"].lower(), float(r["Applicability"]))
            for r in rows}  # fmt: skip
    entries = Registry("source").load("dravnieks_1985")().read(real_archive).entries
    shared = {label for _, label, _ in long} & set(entries[0].ratings)
    wide = {(e.smiles, label, e.ratings[label]) for e in entries for label in shared}
    assert len(shared) > 100
    assert wide <= long


def test_keller_is_480_molecules_by_19(real_archive):
    table = Registry("source").load("keller_2016")().read(real_archive)
    assert (len(table.entries), len(table.vocabulary)) == (480, 19)
    dataset = build(real_archive, "keller")
    assert dataset.labels.shape == (476, 19)
    assert dataset.positives.min() >= 95


def test_every_archive_structure_parses(real_archive):
    for word in ("goodscents", "leffingwell", "ifra_2019", "dravnieks_1985", "keller_2016"):
        entries = Registry("source").load(word)().read(real_archive).entries
        assert [e.place for e in entries if parse_structure(e.smiles, "nonstereo") is None] == []
