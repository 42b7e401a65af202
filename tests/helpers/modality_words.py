"""The names of the modalities, with what each needs to be built."""

import atexit
import csv
import importlib
import shutil
import tempfile
from functools import cache
from pathlib import Path

import modalities
from modalities import ModalityFeatures
from study.testing import MOLECULES

WORDS = sorted(
    path.stem for path in Path(modalities.__file__).parent.glob("*.py") if path.stem[0] != "_"
)


def modality_class(name):
    module = importlib.import_module(f"modalities.{name}")
    return getattr(module, "".join(part.capitalize() for part in name.split("_")))


@cache
def needed_options(name):
    """Return the options of a modality that needs a file, and make the file; {} for the others."""
    makers = {"language_model": checkpoint, "iupac": names}
    return makers[name]() if name in makers else {}


def modality_of(name, **options):
    return modality_class(name)(**{**needed_options(name), **options})


@cache
def scratch():
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return Path(folder)


def checkpoint():
    from checkpoint_maker import save_checkpoint  # transformers takes seconds to import

    save_checkpoint(scratch() / "bert")
    return {"architecture": str(scratch() / "bert")}


def names():
    """A table of made-up names for all molecules but the first."""
    path = scratch() / "names.csv"
    with path.open("w", newline="") as file:
        rows = [(text, f"{row}-{text.lower()}ane") for row, text in enumerate(MOLECULES) if row]
        csv.writer(file).writerows([("IsomericSMILES", "IUPACName"), (MOLECULES[0], ""), *rows])
    return {"names": str(path)}


def features_of(modality, smiles=MOLECULES):
    records = [modality.featurize(text) for text in smiles]
    return ModalityFeatures.stack(modality.version, smiles, records)
