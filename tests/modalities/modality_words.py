"""The words of the folder `modalities`, and molecules that every modality must take."""

import importlib
from pathlib import Path

import modalities
from modalities import ModalityFeatures

WORDS = sorted(
    path.stem for path in Path(modalities.__file__).parent.glob("*.py") if path.stem[0] != "_"
)
MOLECULES = (
    "C",  # no bond between heavy atoms
    "O",
    "CCO",
    "CC(=O)OCC",
    "O=Cc1ccccc1",
    "C/C=C/C",
    "C[C@H](O)CC",
    "CC#N",
    "CSSC",
    "C1CCCCC1",
    "CCCCCCCCCC=O",
    "COc1cc(C=O)ccc1O",
    "C=C(C)[C@@H]1CC=C(C)CC1",
    "c1ccc2[nH]ccc2c1",
)


def modality_class(word):
    module = importlib.import_module(f"modalities.{word}")
    return getattr(module, "".join(part.capitalize() for part in word.split("_")))


def features_of(modality, smiles=MOLECULES):
    records = [modality.featurize(text) for text in smiles]
    return ModalityFeatures.stack(modality.version, smiles, records)
