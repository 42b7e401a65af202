"""The steps of curation on invented rows, and their counts."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.data import DatasetConfig, Threshold, build_dataset, curate, describe
from study.data.chemistry import parse_structure
from study.data.curation import normalize_spelling, read_synonyms, reduce_to_base
from study.data.source import RawEntry, RawTable
from study.errors import InputError

GS_LF_IFRA = ["goodscents", "leffingwell", "ifra_2019"]


def table(*rows, name="made", **more):
    entries = tuple(RawEntry(f"row {i}", s, labels) for i, (s, labels) in enumerate(rows))
    words = tuple(sorted({label for entry in entries for label in entry.labels}))
    return RawTable(name, entries, words, {}, **more)


def recipe(**fields):
    return DatasetConfig.model_validate({"sources": ["starter"], "vocabulary": "union", **fields})


def rows_of(dataset):
    """Labels by SMILES, as sets."""
    return {
        smiles: {name for name, on in zip(dataset.label_names, row, strict=True) if on}
        for smiles, row in zip(dataset.smiles, dataset.labels, strict=True)
    }


def step(dataset, start):
    return next(step for step in dataset.steps if step.name.startswith(start))


def test_tiny_archive_by_hand(archive):
    dataset = build_dataset(
        DatasetConfig.model_validate({"archive": archive, "sources": GS_LF_IFRA})
    )
    assert dataset.label_names == ("cherry", "fruity", "jasmin", "odorless", "woody")
    assert rows_of(dataset) == {
        "CCC(C)O": {"woody"},
        "CCCC": {"odorless"},
        "CCCCO": {"fruity", "woody"},
        "CCO": {"cherry", "fruity", "jasmin"},
    }
    counts = [(s.before, s.after) for s in dataset.steps]
    assert counts[3:] == [(11, 11), (11, 10), (10, 9), (9, 8), (8, 4), (4, 4), (4, 4), (4, 4)]
    assert step(dataset, "parse").note == "1 unparsable: leffingwell/behavior.csv row 6 ('C1CC')"
    assert step(dataset, "clear odorless").note == "cleared in 2 molecules"
    assert len(dataset.sources) == 7


def test_stereo_twins_are_one_molecule_or_two_by_the_key():
    twins = table(("C[C@H](O)CC", ("a",)), ("C[C@@H](O)CC", ("b",)))
    assert rows_of(curate([twins], recipe())) == {"CCC(C)O": {"a", "b"}}
    apart = curate([twins], recipe(key="isomeric"))
    # (Me, H, O, Et) -> (Et, H, Me, O) is an even permutation: the mark stays the same
    assert rows_of(apart) == {"CC[C@H](C)O": {"a"}, "CC[C@@H](C)O": {"b"}}
    assert "2 molecules share their constitution" in step(apart, "merge").note


@pytest.mark.parametrize(
    ("field", "smiles"), [("multi_fragment", "CC(=O)[O-].[Na+]"), ("carbon_free", "O")]
)
def test_filter_drops_or_keeps(field, smiles):
    made = table(("CCO", ("a",)), (smiles, ("a",)))
    assert set(rows_of(curate([made], recipe(**{field: "drop"})))) == {"CCO"}
    assert len(curate([made], recipe(**{field: "keep"}))) == 2


def test_odorless_is_removed_beside_other_labels():
    made = table(("CCO", ("odorless",)), ("CCC", ("odorless", "faint")), ("CC", ("a",)))
    dataset = curate([made], recipe(vocabulary=["odorless", "a"]))
    assert rows_of(dataset) == {"CCO": {"odorless"}, "CC": {"a"}}


def test_a_listed_vocabulary_keeps_its_order():
    made = table(("CCO", ("sweet", "green")))
    dataset = curate([made], recipe(vocabulary=["sweet", "green"]))
    assert dataset.label_names == ("sweet", "green")
    with pytest.raises(InputError, match=r"no source knows the label 'swete'.*close to it: sweet"):
        curate([made], recipe(vocabulary=["swete"]))


def test_sources_without_a_common_label_are_an_error():
    tables = [table(("CCO", ("a",))), table(("CCO", ("b",)))]
    with pytest.raises(InputError, match="no label in common: use vocabulary: union"):
        curate(tables, recipe(vocabulary="intersection"))


def test_rare_labels_are_dropped_and_counted():
    made = table(("CCO", ("a",)), ("CCC", ("a",)), ("CC", ("b",)))
    dataset = curate([made], recipe(min_positives=2))
    assert rows_of(dataset) == {"CCO": {"a"}, "CCC": {"a"}}
    assert "1 of 2 labels dropped: b" in step(dataset, "drop labels").note


def test_label_without_a_positive_is_an_error():
    made = table(("CCO", ("a",)), ("O", ("b",)))
    with pytest.raises(InputError, match="labels without a single positive: b"):
        curate([made], recipe())


def test_nothing_left_is_an_error():
    with pytest.raises(InputError, match="curation left 0 molecules x 1"):
        curate([table(("O", ("a",)))], recipe(min_positives=0))


def test_unlabelled_molecules_can_be_kept():
    made = table(("CCO", ("a",)), ("CC", ()))
    assert len(curate([made], recipe())) == 1
    assert len(curate([made], recipe(unlabelled="keep"))) == 2


@given(st.permutations(range(5)))
def test_order_of_entries_does_not_matter(order):
    rows = [("CCO", ("a",)), ("OCC", ("b",)), ("CC", ("a",)), ("CCC", ()), ("C(C)C", ("b",))]
    made, shuffled = table(*rows), table(*(rows[i] for i in order))
    assert curate([made], recipe()).digest == curate([shuffled], recipe()).digest


def rated(*rows):
    entries = tuple(RawEntry(f"row {i}", s, ratings=r) for i, (s, r) in enumerate(rows))
    return RawTable("made", entries, ("x", "y"), {}, threshold=Threshold(at_least=10))


def test_ratings_of_duplicates_are_averaged_before_they_are_labelled():
    made = rated(("CCO", {"x": 8.0, "y": 30.0}), ("OCC", {"x": 14.0}), ("CC", {"x": 9.0}))
    dataset = curate([made], recipe(unlabelled="keep"))
    assert dataset.smiles == ("CC", "CCO")
    np.testing.assert_array_equal(dataset.ratings, np.array([[9, np.nan], [11, 30]], np.float32))
    assert dataset.labels.tolist() == [[0, 0], [1, 1]]


def test_ratings_follow_the_rows_and_labels_that_stay():
    made = rated(("CCO", {"x": 50.0, "y": 0.0}), ("CC", {"x": 0.0, "y": 0.0}))
    dataset = curate([made], recipe(min_positives=1))
    assert (dataset.smiles, dataset.label_names) == (("CCO",), ("x",))
    assert dataset.ratings.tolist() == [[50.0]]


def test_top_share_includes_ties():
    ratings = np.array([[1, 5], [2, 5], [3, 1], [4, 0], [5, 0]], dtype=np.float32)
    labels = Threshold(top_share=0.2).apply(ratings)
    assert labels.T.tolist() == [[0, 0, 0, 0, 1], [1, 1, 0, 0, 0]]


def test_a_missing_rating_is_not_positive():
    ratings = np.array([[np.nan, np.nan], [1, np.nan], [9, np.nan]], dtype=np.float32)
    for rule in (Threshold(at_least=5), Threshold(top_share=0.4)):
        assert rule.apply(ratings).T.tolist() == [[0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        ("cherry maraschino cherry", "cherry"),
        ("currant bud black currant bud", "currant bud"),
        ("fruit tropical fruit", "fruit"),
        ("tutti frutti", "tutti frutti"),
        ("sweet sweet", "sweet sweet"),
    ],
)
def test_qualified_descriptor_is_reduced_to_its_base(raw, label):
    assert reduce_to_base(raw) == label


@pytest.mark.parametrize(
    ("source", "raw", "label"),
    [
        ("goodscents", "Fruit  Tropical Fruit", "fruity"),
        ("goodscents", "woody old wood", "woody"),
        ("ifra_2019", "Neutral", "odorless"),
        ("starter", "neutral", "neutral"),
        ("ifra_2019", "Musk like", "musk"),
        ("leffingwell", "fruit tropical fruit", "fruit tropical fruit"),
    ],
)
def test_labels_are_normalized(source, raw, label):
    assert normalize_spelling(source, synonyms=True)(raw) == label


def test_without_synonyms_only_case_and_spaces_change():
    assert normalize_spelling("goodscents", synonyms=False)(" Musk  like ") == "musk like"


def test_synonyms_lead_to_final_labels_in_one_step():
    targets = read_synonyms().items()
    chained = [
        key
        for key, label in targets
        for scope in (key[0], "*")
        if (scope, label) in read_synonyms()
    ]
    assert chained == []


@pytest.mark.parametrize(
    "smiles", ["C[C@H](O)/C=C/C", "c1ccc2c(c1)C=C[C@@H]2O", "F/C(Cl)=C(/F)Cl", "[2H]C([2H])O"]
)
def test_the_key_does_not_depend_on_the_smiles(smiles):
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    for key, seed in itertools.product(("nonstereo", "isomeric"), range(20)):
        spelled = Chem.MolToRandomSmilesVect(molecule, 1, randomSeed=seed + 1)[0]
        canonical = parse_structure(spelled, key).smiles
        assert canonical == parse_structure(smiles, key).smiles
        assert parse_structure(canonical, key).smiles == canonical


def test_the_description_counts_molecules_and_labels():
    made = table(("CCO", ("a", "b")), ("CC", ("a",)))
    text = describe(curate([made], recipe()))
    assert text.labels == (("a", "2", "100.0%"), ("b", "1", "50.0%"))
    assert dict(text.facts)["size"] == "2 molecules x 2 labels"
    assert text.steps[-1] == ("drop molecules without a label", "2", "2", "")
