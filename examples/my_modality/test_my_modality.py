"""The modality keeps the contract of all modalities."""

from my_modality import Composition

from study.testing import ModalityContract


class TestComposition(ModalityContract):
    component = Composition


class TestCompositionWithHydrogens(ModalityContract):
    component = Composition
    options = {"hydrogens": True}  # noqa: RUF012 (read only)


def test_ethanol_has_two_carbons_and_one_oxygen():
    assert Composition().featurize("CCO")["values"].tolist() == [[2, 0, 1, 0]]
    assert Composition(hydrogens=True).featurize("CCO")["values"].tolist() == [[2, 0, 1, 0, 6]]
