import math
import warnings

import numpy as np
import pytest
from mordred import Calculator, descriptors, is_missing
from rdkit import Chem

from modalities import ModalityError
from modalities.mordred import DESCRIPTORS, Mordred, list_descriptor_names


def column(name, smiles):
    return Mordred().featurize(smiles)["values"][0, list_descriptor_names().index(name)]


@pytest.mark.parametrize(
    ("name", "smiles", "value"),
    [
        ("nC", "CCO", 2),
        ("nHBDon", "OCCO", 2),
        ("nAromAtom", "c1ccccc1C", 6),
        ("nRing", "C1CC2CC1CC2", 2),
        ("MW", "CCO", 2 * 12.0 + 6 * 1.00782503223 + 15.99491461957),
        ("WPath", "CCCC", 10),  # distances 1+2+3+1+2+1
        ("Zagreb1", "CCCC", 10),  # degrees 1, 2, 2, 1 squared
    ],
)
def test_known_descriptors(name, smiles, value):
    assert column(name, smiles) == pytest.approx(value, rel=1e-6)


def test_values_equal_the_library_and_missing_is_nan():
    smiles = "C=C(C)[C@@H]1CC=C(C)CC1"
    values = Mordred().featurize(smiles)["values"]
    assert values.shape == (1, DESCRIPTORS)
    assert values.dtype == np.float32
    direct = Calculator(descriptors, ignore_3D=True)(Chem.MolFromSmiles(smiles))
    for ours, theirs in zip(values[0], direct, strict=True):
        if is_missing(theirs) or not math.isfinite(theirs):
            assert np.isnan(ours)
        else:
            assert ours == np.float32(theirs)


def test_molecule_without_bonds_is_silent_with_missing_values(capfd):
    values = Mordred().featurize("[He]")["values"]
    assert 0 < np.isnan(values).sum() < DESCRIPTORS
    assert not np.isinf(values).any()
    assert capfd.readouterr() == ("", "")


def test_features_do_not_depend_on_the_warning_filter():
    smiles = "[Na+].[Cl-]"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quiet = Mordred().featurize(smiles)["values"]
    np.testing.assert_array_equal(Mordred().featurize(smiles)["values"], quiet)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [("clip", 0.0, "above 0"), ("max_missing", 1.5, "from 0 to 1"), ("max_value", -1.0, "above 0")],
)
def test_options_are_checked(option, value, rule):
    with pytest.raises(ModalityError, match=f"'mordred': {option} must be {rule}, not {value}"):
        Mordred(**{option: value})


def test_another_descriptor_list_is_refused(monkeypatch):
    from modalities import mordred

    monkeypatch.setattr(mordred, "DESCRIPTORS", 1612)
    mordred.build_calculator.cache_clear()
    with pytest.raises(ModalityError, match="has 1613 descriptors, not 1612"):
        mordred.Mordred().featurize("C")
