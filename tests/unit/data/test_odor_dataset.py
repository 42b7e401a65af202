"""The checks of a data set when it is created."""

import numpy as np
import pytest

from study.data import OdorDataset
from study.errors import InputError

GOOD = {
    "name": "t",
    "smiles": ("CC", "CCO"),
    "labels": np.array([[1, 0], [1, 1]], dtype=np.uint8),
    "label_names": ("a", "b"),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"smiles": ("CC",)}, r"uint8 of shape \(1, 2\), not uint8 \(2, 2\)"),
        ({"labels": np.ones((2, 2))}, "must be uint8"),
        ({"labels": np.full((2, 2), 2, np.uint8)}, "must be 0 or 1"),
        ({"smiles": ("CC", "CC")}, "molecule 'CC' appears more than once"),
        ({"label_names": ("a", "a")}, "label 'a' appears more than once"),
        ({"labels": np.array([[1, 0], [1, 0]], np.uint8)}, "without a single positive: b"),
        ({"ratings": np.zeros((2, 1), np.float32)}, "ratings must have the shape"),
    ],
)
def test_a_broken_rule_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        OdorDataset(**{**GOOD, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"smiles": ("CCO", "CC")},
        {"label_names": ("a", "c")},
        {"labels": np.array([[1, 1], [1, 1]], dtype=np.uint8)},
    ],
)
def test_digest_depends_on_molecules_names_and_labels(change):
    assert OdorDataset(**{**GOOD, **change}).digest != OdorDataset(**GOOD).digest


def test_labels_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        OdorDataset(**GOOD).labels[0, 0] = 0
