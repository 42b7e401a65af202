"""Defects in the reading of tables that fuzzing found, one direct test each."""

import math

import pytest

from study.data import DatasetConfig, build_dataset
from study.data.chemistry import MAX_CHARACTERS, parse_structure
from study.errors import InputError

SOURCE = {"vocabulary": "union"}


@pytest.mark.parametrize(
    "smiles",
    ["éCC", "C😀", "CC OC", "CC\nO", "CC\xa0O", "C\0C", "C\ud800", "C" * (MAX_CHARACTERS + 1)],
)
def test_text_that_rdkit_misreads_is_no_structure(smiles):
    assert parse_structure(smiles, "isomeric") is None


def test_a_message_cuts_a_long_structure(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"smiles,sweet\n{'C' * 50_000},1\n")
    with pytest.raises(InputError, match=r"row 2 \('C{200} \.\.\.'\)"):
        build_dataset(DatasetConfig(sources=[{"source": "csv", "file": str(path)}], **SOURCE))


@pytest.mark.parametrize("written", ["inf", "nan", "1e999", "1e39", "-1e30"])
def test_a_rating_that_is_not_finite_is_refused(written, archive):
    path = archive / "prediction_targets" / "keller_2016.csv"
    path.write_text(path.read_text().replace("1.5", written))
    with pytest.raises(
        InputError, match=rf"row 2: '{written}' is not a finite number up to 1e\+09"
    ):
        build_dataset(DatasetConfig(preset="keller", archive=archive))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e39])
def test_a_threshold_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=r"at_least\n.*Input should be"):
        DatasetConfig(preset="keller", threshold={"at_least": value})


@pytest.mark.parametrize(
    ("option", "value"), [("seed", -1), ("skew", math.inf), ("skew", math.nan), ("noise", math.nan)]
)
def test_simulated_options_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=f"option '{option}' (is|cannot be) .*[,;] allowed"):
        DatasetConfig(sources=[{"source": "simulated", option: value}], **SOURCE)


@pytest.mark.parametrize("file", ["~no-such-user/x.csv", "x" * 5_000])
def test_an_impossible_path_is_refused(file):
    with pytest.raises(ValueError, match=f"the option 'file' cannot be '{file[:50]}"):
        DatasetConfig(sources=[{"source": "csv", "file": file}], **SOURCE)
    with pytest.raises(InputError, match=f"data.archive cannot be '{file[:50]}"):
        build_dataset(DatasetConfig(preset="gs-lf", archive=file))
