"""The molecular graph, with the atom and bond features of MolCLR."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from modalities._base import ModalityError, Record
from modalities.featurizers.molecule import featurizer_version, parse_smiles, require_option

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Bond

    from modalities.nn.graph import MolclrEncoder

ELEMENTS = 118
"""Number of elements: index 0 to 117; index 118 is the mask of contrastive pretraining."""
CHIRALITIES = ("CHI_UNSPECIFIED", "CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW")
BOND_TYPES = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
DIRECTIONS = ("NONE", "ENDUPRIGHT", "ENDDOWNRIGHT")


class Graph:
    """Atoms and bonds as MolCLR (Wang et al., Nat. Mach. Intell. 4:279, 2022) indexes them.

    Features: ``atoms`` int16 (number of atoms, 2) = atomic number - 1, chirality tag; ``bonds``
    int16 (2 * number of bonds, 4) = from, to, type (single, double, triple, aromatic), direction
    (none, up, down), with each bond once in either direction. The embedding has width 512.

    Parameters
    ----------
    encoder : {'gcn', 'gin'}
        Which of MolCLR's two networks to use.
    hydrogens : bool
        Whether hydrogens are atoms of the graph, as in MolCLR's fine-tuning.
    weights : str
        'random' for initial weights from the seed, or a checkpoint of that network: a file, or a
        folder written by a pretraining. A relative path is also looked for in the folder
        OLFACTION_WEIGHTS.
    sha256 : str, optional
        Expected sha256 of the checkpoint.
    pooling : {'mean', 'add', 'max'}
        Pooling over the atoms of a molecule; the published weights were trained with 'mean'.
    dropout : float
        Dropout probability between layers in training; 0.3 is MolCLR's fine-tuning value.
    """

    letter: ClassVar[str] = "G"
    trainable: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __init__(
        self,
        *,
        encoder: Literal["gcn", "gin"] = "gcn",
        hydrogens: bool = True,
        weights: str = "random",
        sha256: str | None = None,
        pooling: Literal["mean", "add", "max"] = "mean",
        dropout: float = 0.3,
    ) -> None:
        require_option("graph", "encoder", encoder, "gcn or gin", encoder in ("gcn", "gin"))
        require_option(
            "graph", "pooling", pooling, "mean, add or max", pooling in ("mean", "add", "max")
        )
        require_option("graph", "dropout", dropout, "from 0 to below 1", 0 <= dropout < 1)
        allowed = sha256 is None or weights != "random"
        require_option("graph", "sha256", sha256, "left out with random weights", allowed)
        self.network: Literal["gcn", "gin"] = encoder
        self.hydrogens = hydrogens
        self.weights = weights
        self.sha256 = sha256
        self.pooling: Literal["mean", "add", "max"] = pooling
        self.dropout = dropout

    @property
    def version(self) -> str:
        """Identity of the featurizer; the options of the encoder are not part of it."""
        return featurizer_version("graph", 1, "rdkit", hydrogens=self.hydrogens)

    def featurize(self, smiles: str) -> Record:
        """Index the atoms and bonds of a molecule.

        Raises
        ------
        ModalityError
            An atom or bond has no index in MolCLR: a dummy atom, a chirality that is not
            tetrahedral, or a bond that is not single, double, triple or aromatic.
        """
        from rdkit.Chem import AddHs

        mol = parse_smiles(smiles)
        if self.hydrogens:
            mol = AddHs(mol)
        atoms = [_index_atom(atom, smiles) for atom in mol.GetAtoms()]
        bonds = [row for bond in mol.GetBonds() for row in _index_bond(bond, smiles)]
        return {
            "atoms": np.array(atoms, dtype=np.int16),
            "bonds": np.array(bonds, dtype=np.int16).reshape(-1, 4),
        }

    def encoder(self, *, seed: int) -> MolclrEncoder:
        """Build the encoder with the weights of the checkpoint, or random ones from `seed`."""
        from modalities.nn.graph import MolclrEncoder
        from modalities.nn.random import seeded
        from modalities.weights.checkpoint import find_weights, load_weights

        with seeded(seed):
            network = MolclrEncoder(self.network, pooling=self.pooling, dropout=self.dropout)
        if self.weights != "random":
            path = find_weights(self.weights)
            load_weights(network, path, sha256=self.sha256, ignorable=network.ignorable)
        return network


def _index_atom(atom: Atom, smiles: str) -> tuple[int, int]:
    place = f"molecule '{smiles}', atom {atom.GetIdx()}"
    number = atom.GetAtomicNum()
    if not 1 <= number <= ELEMENTS:
        raise ModalityError(
            f"{place}: a dummy atom (*) is not an element and has no index in the graph; "
            "give a molecule of known atoms"
        )
    return number - 1, _find_index(CHIRALITIES, str(atom.GetChiralTag()), f"{place}: chirality")


def _index_bond(bond: Bond, smiles: str) -> tuple[tuple[int, int, int, int], ...]:
    """Return the rows of a bond, one for either direction: from, to, type, direction."""
    place = f"molecule '{smiles}', bond {bond.GetIdx()}"
    bond_type = _find_index(BOND_TYPES, str(bond.GetBondType()), f"{place}: type")
    direction = _find_index(DIRECTIONS, str(bond.GetBondDir()), f"{place}: direction")
    begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    return (begin, end, bond_type, direction), (end, begin, bond_type, direction)


def _find_index(names: tuple[str, ...], name: str, attribute: str) -> int:
    if name not in names:
        raise ModalityError(
            f"{attribute} {name} has no index in the graph, which knows {', '.join(names)}; "
            "rewrite the molecule without it"
        )
    return names.index(name)
