"""What fuzzing found in the reading of tables: each once, directly."""

import math

import pytest

from study.data import DatasetConfig, build_dataset
from study.data.chemistry import MOST_CHARACTERS, parse_structure
from study.errors import InputError

SOURCE = {"vocabulary": "union"}


@pytest.mark.parametrize(
    "smiles",
    ["éCC", "C😀", "CC OC", "CC\nO", "CC\xa0O", "C\0C", "C\ud800", "C" * (MOST_CHARACTERS + 1)],
)
def test_a_text_that_rdkit_would_cut_short_or_never_finish_is_no_structure(smiles):
    assert parse_structure(smiles, "isomeric") is None


def test_a_long_structure_is_named_by_its_beginning(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"smiles,sweet\n{'C' * 50_000},1\n")
    with pytest.raises(InputError, match=r"row 2 \('C{200} \.\.\.'\)"):
        build_dataset(DatasetConfig(sources=[{"source": "csv", "file": str(path)}], **SOURCE))


@pytest.mark.parametrize("written", ["inf", "nan", "1e999", "1e39", "-1e30"])
def test_a_rating_that_is_not_finite_is_refused(written, archive):
    path = archive / "prediction_targets" / "keller_2016.csv"
    path.write_text(path.read_text().replace("1.5", written))
    with pytest.raises(InputError, match=rf"row 2: '{written}' is no number up to 1e\+09"):
        build_dataset(DatasetConfig(preset="keller", archive=archive))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e39])
def test_a_threshold_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=r"at_least\n.*Input should be"):
        DatasetConfig(preset="keller", threshold={"at_least": value})


@pytest.mark.parametrize(
    ("option", "value"), [("seed", -1), ("skew", math.inf), ("skew", math.nan), ("noise", math.nan)]
)
def test_a_simulated_table_refuses_what_it_cannot_draw_with(option, value):
    with pytest.raises(ValueError, match=f"option '{option}' (is|cannot be) .*[,;] allowed"):
        DatasetConfig(sources=[{"source": "simulated", option: value}], **SOURCE)


@pytest.mark.parametrize("file", ["~no-such-user/x.csv", "x" * 5_000])
def test_a_path_that_can_be_none_is_refused(file):
    with pytest.raises(ValueError, match=f"the option 'file' cannot be '{file[:50]}"):
        DatasetConfig(sources=[{"source": "csv", "file": file}], **SOURCE)
    with pytest.raises(InputError, match=f"data.archive cannot be '{file[:50]}"):
        build_dataset(DatasetConfig(preset="gs-lf", archive=file))
