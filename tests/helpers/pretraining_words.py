"""The names of the pretraining objectives, with every modality whose encoder each can train."""

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


def objective_class(name):
    module = importlib.import_module(f"modalities.pretraining.{name}")
    return getattr(module, "".join(part.capitalize() for part in name.split("_")))


def objective_of(objective, modality):
    """Build the objective with its defaults, or with the options that this modality needs."""
    needed = {("translation", "iupac"): {"direction": "name_to_smiles"}}
    return objective_class(objective)(**needed.get((objective, modality), {}))


@cache
def trainable(name):
    """Build a modality, without dropout if it has that option."""
    modality = modality_of(name)
    options = {"dropout": 0.0} if "dropout" in type(modality).__init__.__kwdefaults__ else {}
    return modality_of(name, **options)


CASES = [
    (objective, modality)
    for objective in OBJECTIVES
    for modality in objective_class(objective).modalities
]
