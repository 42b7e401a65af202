"""Canonical SMILES as keys of molecules; the only module of curation that uses RDKit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from rdkit import Chem, rdBase

Key = Literal["nonstereo", "isomeric"]

_CARBON = 6
MAX_CHARACTERS = 2_000
"""Length limit of a SMILES: parsing time is quadratic, and odorants have fewer than a hundred."""


@dataclass(frozen=True)
class Structure:
    """The properties of a molecule that curation uses.

    Attributes
    ----------
    smiles : str
        Canonical SMILES under the key.
    constitution : str
        Canonical SMILES without stereo marks and isotopes.
    fragments : int
        Number of disconnected fragments.
    carbons : int
        Number of carbon atoms.
    """

    smiles: str
    constitution: str
    fragments: int
    carbons: int


@lru_cache(maxsize=16_384)
def parse_structure(smiles: str, key: Key) -> Structure | None:
    """Parse a SMILES; None if it is empty or RDKit cannot parse it.

    RDKit silently ignores text that it does not know (``CC OC`` and ``éCC`` give ethane), so
    a text with spaces or non-ASCII characters, or one that is too long, is rejected as well.
    """
    plain = smiles.isascii() and smiles.isprintable() and " " not in smiles
    if not plain or len(smiles) > MAX_CHARACTERS:
        return None
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        return None
    constitution = _canonicalize_again(
        Chem.MolToSmiles(molecule, isomericSmiles=False), stereo=False
    )
    isomeric = _canonicalize_again(Chem.MolToSmiles(molecule), stereo=True)
    return Structure(
        smiles=isomeric if key == "isomeric" else constitution,
        constitution=constitution,
        fragments=len(Chem.GetMolFrags(molecule)),
        carbons=sum(atom.GetAtomicNum() == _CARBON for atom in molecule.GetAtoms()),
    )


def _canonicalize_again(smiles: str, *, stereo: bool) -> str:
    """Canonicalize once more: removed stereo marks can change the canonical numbering."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    return smiles if molecule is None else str(Chem.MolToSmiles(molecule, isomericSmiles=stereo))
