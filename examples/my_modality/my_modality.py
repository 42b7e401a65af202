"""How many atoms of each element a molecule has."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from modalities import Record, featurizer_version, parse_smiles

if TYPE_CHECKING:
    from modalities import DescriptorScaler

ELEMENTS = ("C", "N", "O", "S")


class Composition:
    """Counts of C, N, O and S, scaled on the training rows.

    Parameters
    ----------
    hydrogens : bool
        Whether hydrogen atoms are counted too.
    """

    letter: ClassVar[str] = "C"
    trainable: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __init__(self, *, hydrogens: bool = False) -> None:
        self.hydrogens = hydrogens

    @property
    def version(self) -> str:
        """Identity of the features: revision of this code, version of RDKit, and options."""
        return featurizer_version("composition", 1, "rdkit", hydrogens=self.hydrogens)

    def featurize(self, smiles: str) -> Record:
        """Count the atoms of a molecule: ``values`` float32 (1, 4), or (1, 5) with hydrogens."""
        atoms = parse_smiles(smiles).GetAtoms()
        symbols = [atom.GetSymbol() for atom in atoms]
        counts = [symbols.count(element) for element in ELEMENTS]
        if self.hydrogens:
            counts.append(sum(atom.GetTotalNumHs() for atom in atoms))
        return {"values": np.array([counts], dtype=np.float32)}

    def encoder(self, *, seed: int) -> DescriptorScaler:  # noqa: ARG002 (nothing is random)
        """Build the transform that scales the counts."""
        from modalities import DescriptorScaler  # loads torch, which planning does not need

        return DescriptorScaler(max_missing=0.2, max_value=1e6, clip=5.0)
