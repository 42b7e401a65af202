"""Groups of molecules that a split keeps together: constitutions, scaffolds, clusters."""

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
"""Number of rows that are compared with all others at once: (512, n) of float32."""


def parse_molecules(smiles: Sequence[str]) -> list[Mol]:
    """Parse every SMILES.

    Raises
    ------
    InputError
        A SMILES cannot be parsed; the message names its row and text.
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
    """Return canonical SMILES; without stereo (and isotopes) those of the constitutions.

    Without stereo they are canonicalized twice: removed isotopes and stereo marks can leave
    explicit hydrogens or another numbering, so that a deuterated molecule would miss its twin.
    """
    from rdkit import Chem

    smiles = tuple(Chem.MolToSmiles(mol, isomericSmiles=stereo) for mol in mols)
    if stereo:
        return smiles
    return tuple(Chem.MolToSmiles(mol, isomericSmiles=False) for mol in parse_molecules(smiles))


def build_scaffolds(mols: Sequence[Mol]) -> tuple[str, ...]:
    """Return Bemis-Murcko scaffolds without stereo; '' for molecules without rings."""
    from rdkit import Chem
    from rdkit.Chem.Scaffolds import MurckoScaffold

    get_scaffold: Callable[[Mol], Mol] = MurckoScaffold.GetScaffoldForMol
    return tuple(Chem.MolToSmiles(get_scaffold(mol), isomericSmiles=False) for mol in mols)


def ecfp4(mols: Sequence[Mol]) -> NDArray[np.float32]:
    """Compute ECFP4 bits (Morgan, radius 2, 2048 bits, without stereo), (n, 2048) of 0 and 1."""
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=_RADIUS, fpSize=_BITS)
    bits = np.zeros((len(mols), _BITS), dtype=np.float32)
    for row, mol in enumerate(mols):
        bits[row, list(generator.GetFingerprint(mol).GetOnBits())] = 1
    return bits


def tanimoto_blocks(
    bits: NDArray[np.float32],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the Tanimoto similarity of all pairs, a block of rows at a time.

    Yields
    ------
    start : int
        First row of the block.
    similarity : ndarray of float32, (up to 512, n)
        Shared bits over bits set in either; exact enough to compare with 0.5 and 1.
    """
    size = bits.sum(axis=1)
    for start in range(0, len(bits), _BLOCK):
        shared = bits[start : start + _BLOCK] @ bits.T
        yield start, shared / (size[start : start + _BLOCK, None] + size - shared)


SIMILARITY = 0.5
"""ECFP4 Tanimoto similarity from which two molecules are neighbors in `group_by_butina`."""


def group_by_molecule(smiles: Sequence[str]) -> tuple[str, ...]:
    """Group rows of the same molecule: by canonical SMILES with stereo."""
    return canonical_smiles(parse_molecules(smiles), stereo=True)


def group_by_constitution(smiles: Sequence[str]) -> tuple[str, ...]:
    """Group stereoisomers: by canonical SMILES without stereo."""
    return canonical_smiles(parse_molecules(smiles), stereo=False)


def group_by_butina(smiles: Sequence[str]) -> tuple[str, ...]:
    """Group clusters of similar molecules, each named by its center.

    Butina 1999, J. Chem. Inf. Comput. Sci. 39:747: in the order of their number of neighbors,
    molecules take all neighbors that have no cluster yet; ties go to the later row, as in RDKit.
    """
    names = group_by_constitution(smiles)
    neighbors = _find_neighbors(ecfp4(parse_molecules(names)))
    center = np.full(len(names), -1, dtype=np.int64)
    for row in sorted(range(len(names)), key=lambda i: (len(neighbors[i]), i), reverse=True):
        if center[row] < 0:
            free = neighbors[row][center[neighbors[row]] < 0]
            center[free] = row
    return tuple(f"like {names[row]}" for row in center)


def group_by_murcko(smiles: Sequence[str]) -> tuple[str, ...]:
    """Group molecules by Bemis-Murcko scaffold; all acyclic molecules are one group."""
    scaffolds = build_scaffolds(parse_molecules(group_by_constitution(smiles)))
    return tuple(scaffold or "acyclic molecules" for scaffold in scaffolds)


_SCHEMES: dict[str, Callable[[Sequence[str]], tuple[str, ...]]] = {
    "molecule": group_by_molecule,
    "constitution": group_by_constitution,
    "butina": group_by_butina,
    "murcko": group_by_murcko,
}
SCHEMES = tuple(_SCHEMES)
"""Names of the group schemes, for ``split.groups`` in a study file."""


def group_rows(smiles: Sequence[str], scheme: str, folds: int) -> NDArray[np.int64]:
    """Return the group of every molecule, numbered in the order of first appearance, (n,).

    Raises
    ------
    InputError
        The scheme is unknown, a SMILES cannot be parsed, or a group is larger than a fold, so
        that the folds could not be balanced.
    """
    if scheme not in _SCHEMES:
        raise InputError(f"split scheme '{scheme}' is unknown: use one of {', '.join(SCHEMES)}")
    names = _SCHEMES[scheme](smiles)
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    groups = np.array([numbers[name] for name in names], dtype=np.int64)
    sizes = np.bincount(groups, minlength=1)
    if sizes.max() * folds > len(names):
        finer = " or ".join(f"'{name}'" for name in ("butina", "constitution") if name != scheme)
        raise InputError(
            f"split scheme '{scheme}': group '{list(numbers)[sizes.argmax()]}' has {sizes.max()} "
            f"of {len(names)} molecules, more than one of {folds} folds can hold; use fewer "
            f"folds or the scheme {finer}"
        )
    return groups


def _find_neighbors(bits: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """Return for every row the rows of at least `SIMILARITY`, itself included."""
    return [
        np.flatnonzero(row >= SIMILARITY) for _, block in tanimoto_blocks(bits) for row in block
    ]
