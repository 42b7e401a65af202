"""Which molecules must stay on one side of every line, by scheme."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from study.errors import InputError
from study.splits import _chem

SIMILARITY = 0.5
"""Tanimoto similarity of ECFP4 from which two molecules are neighbors for `butina`."""


def molecule(smiles: Sequence[str]) -> tuple[str, ...]:
    """One group a molecule: its canonical SMILES, stereo included."""
    return _chem.canonical(_chem.parse(smiles), stereo=True)


def constitution(smiles: Sequence[str]) -> tuple[str, ...]:
    """Stereoisomers together: the canonical SMILES without stereo."""
    return _chem.canonical(_chem.parse(smiles), stereo=False)


def butina(smiles: Sequence[str]) -> tuple[str, ...]:
    """Clusters of similar molecules, each named by its center.

    Butina 1999, J. Chem. Inf. Comput. Sci. 39:747: the molecule with most neighbors takes all
    of them that are still free, and so on down; ties go to the later row, as in rdkit.
    """
    names = constitution(smiles)
    neighbors = _neighbors(_chem.ecfp4(_chem.parse(names)))
    center = np.full(len(names), -1, dtype=np.int64)
    for row in sorted(range(len(names)), key=lambda i: (len(neighbors[i]), i), reverse=True):
        if center[row] < 0:
            free = neighbors[row][center[neighbors[row]] < 0]
            center[free] = row
    return tuple(f"like {names[row]}" for row in center)


def murcko(smiles: Sequence[str]) -> tuple[str, ...]:
    """Molecules of one Bemis-Murcko scaffold together; all acyclic ones share the empty one."""
    found = _chem.scaffolds(_chem.parse(constitution(smiles)))
    return tuple(core or "acyclic molecules" for core in found)


_SCHEMES: dict[str, Callable[[Sequence[str]], tuple[str, ...]]] = {
    "molecule": molecule,
    "constitution": constitution,
    "butina": butina,
    "murcko": murcko,
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
        np.flatnonzero(row >= SIMILARITY)
        for _, block in _chem.tanimoto_blocks(bits)
        for row in block
    ]
