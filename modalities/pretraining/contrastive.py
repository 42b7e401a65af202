"""Contrastive pretraining of graph networks: two views of a molecule find each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityFeatures
from modalities._molecule import identity
from modalities.pretraining._base import Molecules
from modalities.pretraining._rules import require

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modalities._base import Modality
    from modalities.pretraining._contrast import ContrastiveModel

WORD = "contrastive"


class Contrastive:
    """MolCLR (Wang et al., Nat. Mach. Intell. 4:279, 2022): NT-Xent over two random views.

    A view hides a part of a molecule. The published strategies are

    ========  ============  ==============  ========================
    strategy  `mask_atoms`  `delete_bonds`  `subgraph`
    ========  ============  ==============  ========================
    node      0.25          0.25            0 (the default)
    subgraph  0             0               0.25
    mix       0.25          0.25            0.2 with `vary_subgraph`
    ========  ============  ==============  ========================

    They were trained without dropout (the option of the modality `graph`), node and subgraph
    without hydrogens and mix with them.

    Parameters
    ----------
    temperature : float
        τ of the loss.
    mask_atoms : float
        ``max(1, floor(share of N))`` of N atoms are masked: element 118, no chirality. 0: none
        but those of the subgraph.
    delete_bonds : float
        ``floor(share of M)`` of M bonds are deleted.
    subgraph : float
        ``floor(share of N)`` atoms, the nearest to a random one by bonds, are masked and lose
        all their bonds; they count towards the other two shares.
    vary_subgraph : bool
        The share of the subgraph is drawn evenly from 0 to `subgraph`, anew for each view.
    """

    modalities: ClassVar[tuple[str, ...]] = ("graph",)
    named: ClassVar[bool] = False

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        mask_atoms: float = 0.25,
        delete_bonds: float = 0.25,
        subgraph: float = 0.0,
        vary_subgraph: bool = False,
    ) -> None:
        shares = {"mask_atoms": mask_atoms, "delete_bonds": delete_bonds, "subgraph": subgraph}
        for name, share in shares.items():
            require(WORD, name, share, "from 0 to 1", 0 <= share <= 1)
        require(WORD, "temperature", temperature, "above 0", temperature > 0)
        hides = any(shares.values())
        require(WORD, "mask_atoms", mask_atoms, "above 0 where nothing else is hidden", hides)
        varied = "false where subgraph is 0"
        require(WORD, "vary_subgraph", vary_subgraph, varied, subgraph > 0 or not vary_subgraph)
        self.temperature = temperature
        self.mask_atoms, self.delete_bonds = mask_atoms, delete_bonds
        self.subgraph, self.vary_subgraph = subgraph, vary_subgraph

    @property
    def version(self) -> str:
        """Identity of the task."""
        return identity(WORD, 1, **vars(self))

    def prepare(self, modality: Modality, molecules: Molecules) -> ModalityFeatures:
        """Return the graphs of the molecules."""
        records = [modality.featurize(text) for text in molecules.smiles]
        return ModalityFeatures.stack(modality.version, molecules.smiles, records)

    def model(self, encoder: nn.Module, *, seed: int) -> ContrastiveModel:
        """Return the encoder with the projection head of the published checkpoints."""
        from modalities._seeding import seeded
        from modalities.pretraining._contrast import ContrastiveModel

        with seeded(seed):
            return ContrastiveModel(encoder, temperature=self.temperature)

    def collate(
        self, examples: ModalityFeatures, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Join 2 b graphs: one view of each row, then another of each row."""
        from modalities._graphs import Graphs
        from modalities.pretraining._views import Views

        views = Views(self.mask_atoms, self.delete_bonds, self.subgraph, self.vary_subgraph)
        graphs = Graphs.gather(examples, np.concatenate([rows, rows]))
        return views.draw(graphs, rng).tensors()
