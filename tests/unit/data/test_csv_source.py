"""The user's own table: both forms, and a message for every defect."""

import pytest

from study.data import DatasetConfig, build_dataset
from study.errors import InputError
from study.plugins.registry import Registry


@pytest.fixture
def write(tmp_path):
    def _write(text):
        path = tmp_path / "mine.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return _write


def build(**options):
    sources = [{"source": "csv", **options}]
    return build_dataset(DatasetConfig.model_validate({"sources": sources, "vocabulary": "union"}))


def test_columns_and_list_give_the_same_table(write):
    columns = build(file=write("smiles,green,sweet\nCCO,0,1\nCCC,1,1\n"))
    listed = build(file=write("s,odor\nCCC,sweet|green\nOCC,sweet\n"), smiles="s",
                   labels="odor", separator="|")  # fmt: skip
    assert columns.digest == listed.digest
    assert columns.smiles == ("CCC", "CCO")
    assert columns.labels.tolist() == [[1, 1], [0, 1]]


def test_ignored_columns_are_not_labels(write):
    table = build(file=write("smiles,name,cas,sweet\nCCO,a,1,1\n"), ignore="name;cas")
    assert table.label_names == ("sweet",)


def test_unparsable_smiles_is_an_error_with_row_and_text(write):
    with pytest.raises(
        InputError,
        match=r"2 SMILES cannot be parsed: mine.csv row 3 \('C1CC'\); mine.csv row 5 \(''\); "
        "correct or remove these rows",
    ):
        build(file=write("smiles,sweet\nCCO,1\nC1CC,1\nCCC,1\n,0\n"))


def test_only_the_first_few_wrong_rows_are_listed(write):
    rows = "".join("X,1\n" for _ in range(9))
    with pytest.raises(InputError, match=r"9 SMILES cannot be parsed.*row 6 \('X'\) and 4 more"):
        build(file=write("smiles,sweet\n" + rows))


def test_label_without_a_positive_is_an_error(write):
    with pytest.raises(InputError, match="labels without a single positive: green"):
        build(file=write("smiles,sweet,green\nCCO,1,0\n"))


def test_label_cell_other_than_0_or_1_is_an_error(write):
    with pytest.raises(InputError, match=r"mine.csv row 2: column 'name' holds 'ethanol'.*ignore"):
        build(file=write("smiles,name,sweet\nCCO,ethanol,1\n"))


def test_header_without_rows_is_an_error(write):
    with pytest.raises(InputError, match="has a header but no rows"):
        build(file=write("smiles,sweet\n"))


def test_missing_column_lists_the_columns(write):
    with pytest.raises(InputError, match="no column 'structure'; its columns: smiles, sweet"):
        build(file=write("smiles,sweet\nCCO,1\n"), smiles="structure")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*absent\.csv"):
        Registry("source").load("csv")(file=str(tmp_path / "absent.csv")).read(None)
