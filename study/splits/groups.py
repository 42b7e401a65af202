"""Groups of molecules that a split keeps together: constitution, scaffold, clusters."""

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


def parse_molecules(smiles: Sequence[str]) -> list[Mol]:
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


def canonical_smiles(mols: Sequence[Mol], *, stereo: bool) -> tuple[str, ...]:
    """Canonical SMILES; without stereo (and isotopes) it names the constitution.

    Without stereo it is made twice: what the first pass drops can leave explicit hydrogens or
    another numbering behind, so that a deuterated molecule would miss its twin.
    """
    from rdkit import Chem

    found = tuple(Chem.MolToSmiles(mol, isomericSmiles=stereo) for mol in mols)
    if stereo:
        return found
    return tuple(Chem.MolToSmiles(mol, isomericSmiles=False) for mol in parse_molecules(found))


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


SIMILARITY = 0.5
"""Tanimoto similarity of ECFP4 from which two molecules are neighbors for `group_by_butina`."""


def group_by_molecule(smiles: Sequence[str]) -> tuple[str, ...]:
    """One group a molecule: its canonical SMILES, stereo included."""
    return canonical_smiles(parse_molecules(smiles), stereo=True)


def group_by_constitution(smiles: Sequence[str]) -> tuple[str, ...]:
    """Stereoisomers together: the canonical SMILES without stereo."""
    return canonical_smiles(parse_molecules(smiles), stereo=False)


def group_by_butina(smiles: Sequence[str]) -> tuple[str, ...]:
    """Clusters of similar molecules, each named by its center.

    Butina 1999, J. Chem. Inf. Comput. Sci. 39:747: the molecule with most neighbors takes all
    of them that are still free, and so on down; ties go to the later row, as in rdkit.
    """
    names = group_by_constitution(smiles)
    neighbors = _neighbors(ecfp4(parse_molecules(names)))
    center = np.full(len(names), -1, dtype=np.int64)
    for row in sorted(range(len(names)), key=lambda i: (len(neighbors[i]), i), reverse=True):
        if center[row] < 0:
            free = neighbors[row][center[neighbors[row]] < 0]
            center[free] = row
    return tuple(f"like {names[row]}" for row in center)


def group_by_murcko(smiles: Sequence[str]) -> tuple[str, ...]:
    """Molecules of one Bemis-Murcko scaffold together; all acyclic ones share the empty one."""
    found = scaffolds(parse_molecules(group_by_constitution(smiles)))
    return tuple(core or "acyclic molecules" for core in found)


_SCHEMES: dict[str, Callable[[Sequence[str]], tuple[str, ...]]] = {
    "molecule": group_by_molecule,
    "constitution": group_by_constitution,
    "butina": group_by_butina,
    "murcko": group_by_murcko,
}
SCHEMES = tuple(_SCHEMES)
"""The words a study file may use."""


def group_rows(smiles: Sequence[str], scheme: str, folds: int) -> NDArray[np.int64]:
    """Group of every molecule, numbered in the order of first appearance, (n,).

    Raises
    ------
    InputError
        The scheme is unknown, a SMILES cannot be parsed, or a group is larger than a fold: then
        the folds could be neither equal nor alike.
    """
    if scheme not in _SCHEMES:
        raise InputError(f"split scheme '{scheme}' is unknown: use one of {', '.join(SCHEMES)}")
    names = _SCHEMES[scheme](smiles)
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    groups = np.array([numbers[name] for name in names], dtype=np.int64)
    sizes = np.bincount(groups, minlength=1)
    if sizes.max() * folds > len(names):
        finer = " or ".join(f"'{word}'" for word in ("butina", "constitution") if word != scheme)
        raise InputError(
            f"split scheme '{scheme}': group '{list(numbers)[sizes.argmax()]}' has {sizes.max()} "
            f"of {len(names)} molecules, more than one of {folds} folds can hold; use fewer "
            f"folds or the scheme {finer}"
        )
    return groups


def _neighbors(bits: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """Rows at least `SIMILARITY` alike, itself included, of every row."""
    return [
        np.flatnonzero(row >= SIMILARITY) for _, block in tanimoto_blocks(bits) for row in block
    ]
