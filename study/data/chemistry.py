"""Structures as keys: one canonical SMILES a molecule. The only RDKit of curation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from rdkit import Chem, rdBase

Key = Literal["nonstereo", "isomeric"]

_CARBON = 6
MOST_CHARACTERS = 2_000
"""Of a SMILES: time grows with the square; odorants have less than a hundred."""


@dataclass(frozen=True)
class Structure:
    """What curation needs to know of a molecule.

    Attributes
    ----------
    smiles : str
        Canonical SMILES under the key.
    constitution : str
        Canonical SMILES without stereo marks and isotopes.
    fragments : int
        Number of unconnected parts.
    carbons : int
        Number of carbon atoms.
    """

    smiles: str
    constitution: str
    fragments: int
    carbons: int


@lru_cache(maxsize=16_384)
def parse_structure(smiles: str, key: Key) -> Structure | None:
    """Parse a SMILES; None where RDKit cannot (syntax, valence, aromaticity) or it is empty.

    RDKit drops what it does not know without a word (``CC OC`` and ``éCC`` give ethane), so
    a text that is not one word of ASCII is none either, and one of too many characters.
    """
    one_word = smiles.isascii() and smiles.isprintable() and " " not in smiles
    if not one_word or len(smiles) > MOST_CHARACTERS:
        return None
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        return None
    constitution = _again(Chem.MolToSmiles(molecule, isomericSmiles=False), stereo=False)
    isomeric = _again(Chem.MolToSmiles(molecule), stereo=True)
    return Structure(
        smiles=isomeric if key == "isomeric" else constitution,
        constitution=constitution,
        fragments=len(Chem.GetMolFrags(molecule)),
        carbons=sum(atom.GetAtomicNum() == _CARBON for atom in molecule.GetAtoms()),
    )


def _again(smiles: str, *, stereo: bool) -> str:
    """Canonicalize once more: without its stereo marks a molecule can number differently."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    return smiles if molecule is None else str(Chem.MolToSmiles(molecule, isomericSmiles=stereo))
