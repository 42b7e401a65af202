"""The words of the folder `modalities/pretraining`, each with every modality it can train."""

import importlib
from functools import cache
from pathlib import Path

from modality_words import MOLECULES, modality_of

import modalities.pretraining
from modalities.pretraining import MoleculeBatch

FOLDER = Path(modalities.pretraining.__file__).parent
OBJECTIVES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem[0] != "_")
LEARNED = MoleculeBatch(MOLECULES[1:], tuple(f"{text.lower()}ane" for text in MOLECULES[1:]))
"""The made-up table of names lacks the first molecule."""


def objective_class(word):
    module = importlib.import_module(f"modalities.pretraining.{word}")
    return getattr(module, "".join(part.capitalize() for part in word.split("_")))


def objective_of(word, modality):
    """Build the objective with its defaults, or with what it needs to train this modality."""
    needed = {("translation", "iupac"): {"direction": "name_to_smiles"}}
    return objective_class(word)(**needed.get((word, modality), {}))


@cache
def trainable(word):
    """Return the modality of a word without dropout where it has the option."""
    modality = modality_of(word)
    options = {"dropout": 0.0} if "dropout" in type(modality).__init__.__kwdefaults__ else {}
    return modality_of(word, **options)


CASES = [(word, name) for word in OBJECTIVES for name in objective_class(word).modalities]
