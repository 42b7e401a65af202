"""The joins and choices of every archive source, on invented rows."""

import math

import pytest

from study.data.tables import read_rows
from study.errors import InputError
from study.plugins.registry import Registry


def read(source, archive, **options):
    return Registry("source").load(source)(**options).read(archive)


def test_goodscents_joins_stimuli_to_structures(archive):
    table = read("goodscents", archive)
    assert [(e.place, e.smiles) for e in table.entries] == [
        ("goodscents/behavior.csv row 2", "OCC"),
        ("goodscents/behavior.csv row 4", "CCCC"),
        ("goodscents/behavior.csv row 5", "C[C@H](O)CC"),
    ]
    assert table.entries[0].labels == ("Fruity", "cherry maraschino cherry", "jasmin")
    assert (table.steps[0].before, table.steps[0].after) == (5, 3)


def test_leffingwell_vocabulary_is_its_columns(archive):
    table = read("leffingwell", archive)
    assert table.vocabulary == ("cherry", "fruity", "jasmine", "odorless", "woody")
    assert table.entries[1].labels == ("odorless", "woody")


@pytest.mark.parametrize(("kept", "labels"), [(3, ("Fruity", "Cherry", "Neutral")),
                                              (1, ("Fruity",))])  # fmt: skip
def test_ifra_takes_the_first_descriptors(archive, kept, labels):
    table = read("ifra_2019", archive, descriptors=kept)
    assert table.entries[0].labels == labels
    assert [entry.smiles for entry in table.entries] == ["CCO", "CCO", "CCCCO"]


def test_dravnieks_prefers_the_high_concentration(archive):
    table = read("dravnieks_1985", archive)
    assert [e.place.split()[-1] for e in table.entries] == ["2", "4"]
    assert table.entries[0].ratings == {"fruity, citrus": 10.0, "meaty (cooked": 0.0, "warm": 50.0}


def test_dravnieks_impossible_ratings_become_nan(archive):
    path = archive / "dravnieks_1985" / "behavior_1.csv"
    path.write_text(path.read_text().replace("9.9,20,0", "9.9,432,0"), encoding="utf-8")
    table = read("dravnieks_1985", archive)
    assert math.isnan(table.entries[1].ratings["meaty (cooked"])
    assert "1 ratings outside 0 to 100 set to NaN" in table.steps[0].note


@pytest.mark.parametrize(
    ("source", "file", "old"),
    [
        ("dravnieks_1985", "dravnieks_1985/behavior_1.csv", "9.9,20,0"),
        ("keller_2016", "prediction_targets/keller_2016.csv", "52,Fish,0.5"),
    ],
)
def test_a_rating_that_is_no_number_is_refused(archive, source, file, old):
    path = archive / file
    path.write_text(path.read_text().replace(old, old[:-1] + "x"), encoding="utf-8")
    with pytest.raises(InputError, match=rf"{file} row 4: '.*x' is not a number"):
        read(source, archive)


def test_dravnieks_measure_chooses_the_table(archive):
    table = read("dravnieks_1985", archive, measure="use")
    assert table.entries[1].ratings["fruity, citrus"] == 40.0
    assert "dravnieks_1985/behavior_2.csv" in table.files


@pytest.mark.parametrize(
    ("scales", "vocabulary"), [(False, ("fish",)), (True, ("fish", "intensity"))]
)
def test_keller_leaves_scales_out_by_default(archive, scales, vocabulary):
    table = read("keller_2016", archive, scales=scales)
    assert table.vocabulary == vocabulary
    assert [entry.ratings["fish"] for entry in table.entries] == [1.5, 0.5, 2.5]


def test_one_missing_file_is_named(archive):
    (archive / "ifra_2019" / "molecules.csv").unlink()
    with pytest.raises(InputError, match=r"lacks ifra_2019/molecules.csv: set data.archive"):
        read("ifra_2019", archive)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: a header row is needed"),
        ("a,b\n1\n", "row 2 has 1 cells, the header 2"),
        ("a,a\n1,2\n", "has the column 'a' more than once"),
        ("b,c\n1,2\n", "has no column 'a'; its columns: b, c"),
        ('a,b\n"1,2\n', "is not a comma-separated UTF-8 table"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_rows(path, ("a",))


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(InputError, match=r"bad.csv is not a comma-separated UTF-8 table"):
        read_rows(path)
