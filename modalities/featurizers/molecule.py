"""Reading molecules, and the identity of featurizers, for all modalities."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

from modalities._base import ModalityError

if TYPE_CHECKING:
    from rdkit.Chem import Mol


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


def featurizer_version(word: str, revision: int, *packages: str, **options: object) -> str:
    """Return a featurizer version, e.g. ``'fingerprint 1 (rdkit 2026.9.1, radius=2)'``.

    `revision` counts changes of our own code that may change the output; `packages` are the
    installed distributions that compute it.
    """
    parts = [f"{package} {_installed(package)}" for package in packages]
    parts += [f"{name}={value!r}" for name, value in options.items()]
    return f"{word} {revision} ({', '.join(parts)})"


@cache
def _installed(package: str) -> str:
    """Return the version of an installed distribution; asked for again and again, read once."""
    return metadata.version(package)


def require_option(word: str, option: str, value: object, rule: str, holds: bool) -> None:
    """Refuse an option of a modality that breaks its rule."""
    if not holds:
        raise ModalityError(f"modality '{word}': {option} must be {rule}, not {value!r}")
