"""Parsing of molecules, featurizer versions and option checks for all modalities."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

from modalities._base import ModalityError

if TYPE_CHECKING:
    import numpy as np
    from rdkit.Chem import Mol

MAX_SEED = 2**31 - 1
"""Largest seed of RDKit; the smallest is 1."""


def parse_smiles(smiles: str) -> Mol:
    """Parse a SMILES without RDKit writing to stderr.

    Raises
    ------
    ModalityError
        The text is not a SMILES of at least one atom.
    """
    from rdkit import rdBase
    from rdkit.Chem import MolFromSmiles

    with rdBase.BlockLogs():
        mol = MolFromSmiles(smiles)
    if mol is None:
        raise ModalityError(f"molecule '{smiles}' cannot be parsed: it is not a valid SMILES")
    if mol.GetNumAtoms() == 0:
        raise ModalityError(f"molecule '{smiles}' has no atoms")
    return mol


def randomize_smiles(smiles: str, rng: np.random.Generator) -> str:
    """Write a SMILES in a random order of its atoms (Arús-Pous et al., J. Cheminf. 2019).

    Raises
    ------
    ModalityError
        The text is not a SMILES of at least one atom.
    """
    from rdkit.Chem import MolToRandomSmilesVect

    seed = int(rng.integers(1, MAX_SEED))
    text: str = MolToRandomSmilesVect(parse_smiles(smiles), 1, randomSeed=seed)[0]
    return text


def featurizer_version(name: str, revision: int, /, *packages: str, **options: object) -> str:
    """Format a featurizer version, e.g. ``'fingerprint 1 (rdkit 2026.9.1, radius=2)'``.

    Parameters
    ----------
    name : str
        Modality or pretraining objective.
    revision : int
        Number that is raised when a change of our code may change the output.
    *packages : str
        Installed distributions that compute the output.
    **options : object
        Options that the output depends on.
    """
    parts = [f"{package} {_read_installed_version(package)}" for package in packages]
    parts += [f"{option}={value!r}" for option, value in options.items()]
    return f"{name} {revision} ({', '.join(parts)})"


@cache
def _read_installed_version(package: str) -> str:
    return metadata.version(package)


def require_option(name: str, option: str, value: object, rule: str, holds: bool) -> None:
    """Raise a ModalityError if an option of the modality `name` breaks its rule."""
    if not holds:
        raise ModalityError(f"modality '{name}': {option} must be {rule}, not {value!r}")
