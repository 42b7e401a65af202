"""Every modality keeps its contract; a new file in the folder is tested without an edit here."""

import pytest
from modality_words import WORDS, modality_class, modality_of, needed_options

from study.testing import ModalityContract, TrainableModalityContract

TRAINABLE = [name for name in WORDS if modality_class(name).trainable]
TRANSFORMS = [name for name in WORDS if name not in TRAINABLE]


class _OfThisProgram:
    """Takes the classes from the names of the files, and makes the files that some need."""

    @pytest.fixture(scope="class")
    @classmethod
    def component_class(cls, modality_name):
        return modality_class(modality_name)

    @pytest.fixture(scope="class")
    @classmethod
    def needed_options(cls, modality_name):
        return needed_options(modality_name)

    def build_owner(self, name):
        return modality_of(name)


class TestTransform(_OfThisProgram, ModalityContract):
    @pytest.fixture(scope="class", params=TRANSFORMS)
    @classmethod
    def modality_name(cls, request):
        return request.param


class TestTrainable(_OfThisProgram, TrainableModalityContract):
    @pytest.fixture(scope="class", params=TRAINABLE)
    @classmethod
    def modality_name(cls, request):
        return request.param


def test_letters_are_unique():
    letters = [modality_class(name).letter for name in WORDS]
    assert len(set(letters)) == len(letters)
