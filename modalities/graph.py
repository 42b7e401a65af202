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
"""Atomic numbers 1 to 118 have index 0 to 117; 118 is the mask of contrastive pretraining."""
CHIRALITIES = ("CHI_UNSPECIFIED", "CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW")
BOND_TYPES = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
DIRECTIONS = ("NONE", "ENDUPRIGHT", "ENDDOWNRIGHT")


class Graph:
    """Atoms and bonds as MolCLR (Wang et al., Nat. Mach. Intell. 4:279, 2022) indexes them.

    Features: ``atoms`` int16 (n atoms, 2) = atomic number - 1, chirality tag; ``bonds`` int16
    (2 n bonds, 4) = from, to, type (single, double, triple, aromatic), direction (none, up,
    down), each bond once in each direction. The encoder gives 512 numbers.

    Parameters
    ----------
    encoder : {'gcn', 'gin'}
        Which of MolCLR's two networks.
    hydrogens : bool
        Whether hydrogens are atoms of the graph, as in MolCLR's fine-tuning.
    weights : str
        Checkpoint of that network: a file or a folder made by a pretraining (path, or path inside
        the folder OLFACTION_WEIGHTS); ``random``: random weights from the seed.
    sha256 : str, optional
        Hash the checkpoint must have.
    pooling : {'mean', 'add', 'max'}
        How atoms become a molecule; the published weights were trained with 'mean'.
    dropout : float
        Between layers, while training; 0.3 is MolCLR's fine-tuning value.
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
        named = sha256 is None or weights != "random"
        require_option("graph", "sha256", sha256, "left out with random weights", named)
        self.network: Literal["gcn", "gin"] = encoder
        self.hydrogens = hydrogens
        self.weights = weights
        self.sha256 = sha256
        self.pooling: Literal["mean", "add", "max"] = pooling
        self.dropout = dropout

    @property
    def version(self) -> str:
        """Identity of the featurizer; the network is the encoder's and not part of it."""
        return featurizer_version("graph", 1, "rdkit", hydrogens=self.hydrogens)

    def featurize(self, smiles: str) -> Record:
        """Index the atoms and bonds of a molecule.

        Raises
        ------
        ModalityError
            An atom or bond has no index in MolCLR: dummy atoms, stereo other than tetrahedral,
            dative and other bonds that are not single, double, triple or aromatic.
        """
        from rdkit.Chem import AddHs

        mol = parse_smiles(smiles)
        if self.hydrogens:
            mol = AddHs(mol)
        atoms = [_atom_row(atom, smiles) for atom in mol.GetAtoms()]
        bonds = [row for bond in mol.GetBonds() for row in _bond_rows(bond, smiles)]
        return {
            "atoms": np.array(atoms, dtype=np.int16),
            "bonds": np.array(bonds, dtype=np.int16).reshape(-1, 4),
        }

    def encoder(self, *, seed: int) -> MolclrEncoder:
        """Return the network with the weights of the checkpoint, or random ones from `seed`."""
        from modalities.nn.graph import MolclrEncoder
        from modalities.nn.random import seeded
        from modalities.weights.checkpoint import find_weights, load_weights

        with seeded(seed):
            network = MolclrEncoder(self.network, pooling=self.pooling, dropout=self.dropout)
        if self.weights != "random":
            path = find_weights(self.weights)
            load_weights(network, path, sha256=self.sha256, ignorable=network.ignorable)
        return network


def _atom_row(atom: Atom, smiles: str) -> tuple[int, int]:
    place = f"molecule '{smiles}', atom {atom.GetIdx()}"
    number = atom.GetAtomicNum()
    if not 1 <= number <= ELEMENTS:
        raise ModalityError(
            f"{place}: a dummy atom (*) is no element and has no index in the graph; "
            "give a molecule of known atoms"
        )
    return number - 1, _index(CHIRALITIES, str(atom.GetChiralTag()), f"{place}: chirality")


def _bond_rows(bond: Bond, smiles: str) -> tuple[tuple[int, int, int, int], ...]:
    place = f"molecule '{smiles}', bond {bond.GetIdx()}"
    kind = _index(BOND_TYPES, str(bond.GetBondType()), f"{place}: type")
    way = _index(DIRECTIONS, str(bond.GetBondDir()), f"{place}: direction")
    begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    return (begin, end, kind, way), (end, begin, kind, way)


def _index(known: tuple[str, ...], name: str, what: str) -> int:
    if name not in known:
        raise ModalityError(
            f"{what} {name} has no index in the graph, which knows {', '.join(known)}; "
            "rewrite the molecule without it"
        )
    return known.index(name)
