"""What splits need to know of molecules: identity without stereo, fingerprints, similarity.

rdkit is imported inside the functions, because reading a study file must not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_BITS = 2048
_RADIUS = 2
_BLOCK = 512
"""Rows compared with the whole table at once: (512, n) of float32."""


def parse(smiles: Sequence[str]) -> list[Mol]:
    """Parse every SMILES.

    Raises
    ------
    InputError
        A SMILES cannot be parsed; the message has its row and text.
    """
    from rdkit import Chem, rdBase

    mols = []
    with rdBase.BlockLogs():
        for row, text in enumerate(smiles):
            mol = Chem.MolFromSmiles(text)
            if mol is None or mol.GetNumAtoms() == 0:
                raise InputError(f"molecule {row} ('{text}') could not be parsed: give a SMILES")
            mols.append(mol)
    return mols


def canonical(mols: Sequence[Mol], *, stereo: bool) -> tuple[str, ...]:
    """Canonical SMILES; without stereo (and isotopes) it names the constitution.

    Without stereo it is made twice: what the first pass drops can leave explicit hydrogens or
    another numbering behind, so that a deuterated molecule would miss its twin.
    """
    from rdkit import Chem

    found = tuple(Chem.MolToSmiles(mol, isomericSmiles=stereo) for mol in mols)
    if stereo:
        return found
    return tuple(Chem.MolToSmiles(mol, isomericSmiles=False) for mol in parse(found))


def scaffolds(mols: Sequence[Mol]) -> tuple[str, ...]:
    """Bemis-Murcko scaffolds without stereo; the empty string where there is no ring."""
    from rdkit import Chem
    from rdkit.Chem.Scaffolds import MurckoScaffold

    core_of: Callable[[Mol], Mol] = MurckoScaffold.GetScaffoldForMol
    return tuple(Chem.MolToSmiles(core_of(mol), isomericSmiles=False) for mol in mols)


def ecfp4(mols: Sequence[Mol]) -> NDArray[np.float32]:
    """ECFP4 as bits (Morgan, radius 2, 2048 bits, without stereo), (n, 2048) of 0 and 1."""
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=_RADIUS, fpSize=_BITS)
    bits = np.zeros((len(mols), _BITS), dtype=np.float32)
    for row, mol in enumerate(mols):
        bits[row, list(generator.GetFingerprint(mol).GetOnBits())] = 1
    return bits


def tanimoto_blocks(
    bits: NDArray[np.float32],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Tanimoto similarity of all pairs, a block of rows at a time.

    Yields
    ------
    start : int
        First row of the block.
    similarity : ndarray of float32, (up to 512, n)
        Shared bits over bits set in either. Exact enough to compare with 0.5 and 1.
    """
    size = bits.sum(axis=1)
    for start in range(0, len(bits), _BLOCK):
        shared = bits[start : start + _BLOCK] @ bits.T
        yield start, shared / (size[start : start + _BLOCK, None] + size - shared)
