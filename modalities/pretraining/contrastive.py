"""Contrastive pretraining of graph encoders on augmented views (MolCLR)."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityFeatures
from modalities.featurizers.molecule import featurizer_version
from modalities.pretraining._base import MoleculeBatch, require_option

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch_geometric.data import Batch

    from modalities._base import Modality
    from modalities.nn.objectives import ContrastiveModel

Rng = np.random.Generator
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class GraphViews:
    """What is hidden of a molecule of N atoms and M bonds; shares from 0 to 1.

    Attributes
    ----------
    mask_atoms : float
        ``max(1, floor(share N))`` atoms are masked, those of the removed part among them; 0: none
        but those.
    delete_bonds : float
        ``floor(share M)`` bonds are deleted, those of the removed part among them.
    subgraph : float
        ``floor(share N)`` atoms are removed, the nearest to a random one: they are masked, and
        all their bonds deleted.
    vary_subgraph : bool
        The share of a molecule's view is drawn evenly from 0 to `subgraph`.
    """

    mask_atoms: float
    delete_bonds: float
    subgraph: float
    vary_subgraph: bool

    def draw(self, graphs: Batch, rng: Rng) -> Batch:
        """Draw one view of every molecule.

        Parameters
        ----------
        graphs : Batch
            As `modalities.nn.graph.batch_graphs` joins them.
        rng : Generator
        """
        import torch

        from modalities.nn.graph import MASKED_ATOM

        ends, offsets = graphs.edge_index[:, ::2].numpy(), graphs.ptr.numpy()  # each bond once
        removed = self._removed(graphs.edge_index.numpy(), offsets, rng)
        lost = removed[ends].any(axis=0)
        masked = self._topped_up(removed, offsets, self.mask_atoms, 1, rng)
        # Bonds stand in the order of their molecules, though not of their atoms.
        bond_offsets = np.searchsorted(ends[0], offsets)
        deleted = self._topped_up(lost, bond_offsets, self.delete_bonds, 0, rng)
        left = torch.from_numpy(np.repeat(~deleted, 2))
        view = copy(graphs)
        view.x = graphs.x.clone()
        view.x[torch.from_numpy(masked)] = torch.tensor(MASKED_ATOM)
        view.edge_index, view.edge_attr = graphs.edge_index[:, left], graphs.edge_attr[left]
        return view

    def _removed(self, edge_index: NDArray[np.int64], offsets: NDArray[np.int64], rng: Rng) -> Mask:
        """Return the atoms of each molecule's removed part, (t,)."""
        if self.subgraph == 0:
            return np.zeros(offsets[-1], dtype=np.bool_)
        sizes = np.diff(offsets)
        share = rng.random(len(sizes)) if self.vary_subgraph else np.ones(len(sizes))
        distance = _distances(edge_index, offsets[-1], offsets[:-1] + rng.integers(sizes))
        counts = np.floor(share * self.subgraph * sizes).astype(np.int64)
        return _first(distance + rng.random(len(distance)), offsets, counts) & np.isfinite(distance)

    @staticmethod
    def _topped_up(
        taken: Mask, offsets: NDArray[np.int64], share: float, fewest: int, rng: Rng
    ) -> Mask:
        """Return what is taken and, at random, more of it up to the share of each molecule."""
        if share == 0:
            return taken
        wanted = np.maximum(fewest, np.floor(share * np.diff(offsets))).astype(np.int64)
        return taken | _first(rng.random(len(taken)) - taken, offsets, wanted)


def _first(
    keys: NDArray[np.float64], offsets: NDArray[np.int64], counts: NDArray[np.int64]
) -> Mask:
    """Return which items have the smallest keys of their molecule, ``counts[i]`` of molecule i."""
    molecule = np.repeat(np.arange(len(counts)), np.diff(offsets))
    order = np.lexsort((keys, molecule))
    chosen = np.empty(len(keys), dtype=np.bool_)
    chosen[order] = np.arange(len(keys)) - offsets[molecule] < counts[molecule]
    return chosen


def _distances(
    edge_index: NDArray[np.int64], atoms: int, starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the bonds between each atom and its molecule's start, breadth first; (atoms,).

    Infinite where no path leads.
    """
    distance = np.full(atoms, np.inf)
    distance[starts] = 0
    start, end = edge_index
    reached, step = starts, 0
    while len(reached):
        step += 1
        touched = end[distance[start] == step - 1]
        reached = touched[np.isinf(distance[touched])]
        distance[reached] = step
    return distance


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
            require_option(WORD, name, share, "from 0 to 1", 0 <= share <= 1)
        require_option(WORD, "temperature", temperature, "above 0", temperature > 0)
        hides = any(shares.values())
        require_option(
            WORD, "mask_atoms", mask_atoms, "above 0 where nothing else is hidden", hides
        )
        varied = "false where subgraph is 0"
        require_option(
            WORD, "vary_subgraph", vary_subgraph, varied, subgraph > 0 or not vary_subgraph
        )
        self.temperature = temperature
        self.mask_atoms, self.delete_bonds = mask_atoms, delete_bonds
        self.subgraph, self.vary_subgraph = subgraph, vary_subgraph

    @property
    def version(self) -> str:
        """Identity of the task."""
        return featurizer_version(WORD, 1, **vars(self))

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> ModalityFeatures:
        """Return the graphs of the molecules."""
        records = [modality.featurize(text) for text in molecules.smiles]
        return ModalityFeatures.stack(modality.version, molecules.smiles, records)

    def model(self, encoder: nn.Module, *, seed: int) -> ContrastiveModel:
        """Return the encoder with the projection head of the published checkpoints."""
        from modalities.nn.objectives import ContrastiveModel
        from modalities.nn.random import seeded

        with seeded(seed):
            return ContrastiveModel(encoder, temperature=self.temperature)

    def collate(
        self, examples: ModalityFeatures, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Join 2 b graphs: one view of each row, then another of each row."""
        from modalities.nn.graph import batch_graphs

        views = GraphViews(self.mask_atoms, self.delete_bonds, self.subgraph, self.vary_subgraph)
        graphs = batch_graphs(examples, np.concatenate([rows, rows]))
        tensors: dict[str, torch.Tensor] = views.draw(graphs, rng).to_dict()
        return tensors
