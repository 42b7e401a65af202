"""Molecules put together from chains, rings and functional groups, in mirror pairs."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

_CHAINS = ("C", "CC", "CCC", "C(C)C", "CCCC", "CC(C)C", "C(C)(C)C", "CCCCC", "CCCCCC",
           "CCC(C)C", "C=C", "CC=C", "CC=C(C)C", "CCCCCCC", "CCCCCCCC")  # fmt: skip
_RINGS = ("c1ccccc1", "C1CCCCC1", "C1CCCC1", "c1ccco1", "c1cccs1", "c1cccnc1", "c1cnccn1",
          "C1CCCO1", "c1ccc(C)cc1", "c1ccc(OC)cc1", "c1ccc(O)cc1", "C1CCCCC1=O", "C1=CCCCC1",
          "c1cscn1")  # fmt: skip
_LINKERS = ("", "C", "CC", "O", "CO", "CCC", "OC", "S")
_GROUPS = ("O", "N", "S", "OC", "SC", "C#N", "C=O", "C(C)=O", "C(=O)O", "C(=O)OC", "C(=O)OCC",
           "OC(C)=O", "OC=O", "N(C)C", "Cl", "F")  # fmt: skip

_FEATURES = ("[#6]", "[#7]", "[#8]", "[#16]", "[F,Cl]", "a", "[R]", "[CH3]", "[CH2;!R]", "C=C",
             "[OX2H]", "[SX2H]", "[CX3]=[OX1]", "[CX3](=O)[OX2H0]", "[CX3](=O)[OX2H1]", "C#N",
             "[OX2]([#6])[#6]", "[CX4;H1]([CH3])[CH3]", "[o,s,n]", "[NX3]")  # fmt: skip


def mirror_pairs(n: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Draw n constitutions with one stereocenter each, as left and right canonical SMILES.

    A molecule is ``group-CH(chain)-linker-ring``. "Right" is the one whose center RDKit tags
    clockwise when it reads the canonical SMILES, so the mark in the text and the tag in a graph
    tell the two apart and nothing two-dimensional does.
    """
    parts = list(itertools.product(_CHAINS, _RINGS, _LINKERS, _GROUPS))
    left: dict[str, str] = {}
    for index in rng.permutation(len(parts)):
        chain, ring, linker, group = parts[index]
        pair = _pair(f"{chain}[C@H]({group}){linker}{ring}")
        if pair is not None:
            left[pair[0]] = pair[1]
        if len(left) == n:
            break
    return list(left), list(left.values())


def _pair(smiles: str) -> tuple[str, str] | None:
    """Left and right form, or None where the atom is no stereocenter or the marks agree."""
    by_tag: dict[Chem.ChiralType, str] = {}
    for text in (smiles, smiles.replace("@", "@@")):
        canonical = Chem.MolToSmiles(Chem.MolFromSmiles(text))
        tags = [atom.GetChiralTag() for atom in Chem.MolFromSmiles(canonical).GetAtoms()]
        marks = [tag for tag in tags if tag != Chem.ChiralType.CHI_UNSPECIFIED]
        if len(marks) != 1:
            return None
        by_tag[marks[0]] = canonical
    if len(by_tag) != 2:
        return None
    return by_tag[Chem.ChiralType.CHI_TETRAHEDRAL_CCW], by_tag[Chem.ChiralType.CHI_TETRAHEDRAL_CW]


def counts(smiles: list[str]) -> NDArray[np.float64]:
    """Structural counts of each molecule, (n, 20): atoms, rings, bonds and groups."""
    patterns = [Chem.MolFromSmarts(text) for text in _FEATURES]
    molecules = [Chem.MolFromSmiles(text) for text in smiles]
    return np.array(
        [[len(m.GetSubstructMatches(p)) for p in patterns] for m in molecules], dtype=np.float64
    )
