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
    """Random views of molecular graphs: which parts of N atoms and M bonds are hidden.

    Attributes
    ----------
    mask_atoms : float
        Share of atoms, from 0 to 1. ``max(1, floor(share N))`` atoms are masked, including those
        of the removed subgraph. If 0, only those of the subgraph are masked.
    delete_bonds : float
        Share of bonds, from 0 to 1. ``floor(share M)`` bonds are deleted, including those of the
        removed subgraph.
    subgraph : float
        Share of atoms, from 0 to 1. The ``floor(share N)`` atoms nearest to a random atom are
        removed: they are masked, and all their bonds are deleted.
    vary_subgraph : bool
        Whether the share of the subgraph is drawn uniformly from 0 to `subgraph` for every view.
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
            Output of `modalities.nn.graph.batch_graphs`.
        rng : Generator

        Returns
        -------
        Batch
            A changed copy.
        """
        import torch

        from modalities.nn.graph import MASKED_ATOM

        edge_index, offsets = graphs.edge_index.numpy(), graphs.ptr.numpy()
        bonds = edge_index[:, ::2]  # a bond has two consecutive edges, one for either direction
        removed = self._draw_subgraph(edge_index, offsets, rng)
        cut = removed[bonds].any(axis=0)
        masked = self._add_random(removed, offsets, self.mask_atoms, 1, rng)
        # The bonds are in the order of their molecules, so that a search for the first atom of a
        # molecule finds its first bond, although within a molecule they are not sorted by atom.
        bond_offsets = np.searchsorted(bonds[0], offsets)
        deleted = self._add_random(cut, bond_offsets, self.delete_bonds, 0, rng)
        remaining = torch.from_numpy(np.repeat(~deleted, 2))
        view = copy(graphs)
        view.x = graphs.x.clone()
        view.x[torch.from_numpy(masked)] = torch.tensor(MASKED_ATOM)
        view.edge_index = graphs.edge_index[:, remaining]
        view.edge_attr = graphs.edge_attr[remaining]
        return view

    def _draw_subgraph(
        self, edge_index: NDArray[np.int64], offsets: NDArray[np.int64], rng: Rng
    ) -> Mask:
        """Draw the atoms of each molecule's removed subgraph, (t,)."""
        if self.subgraph == 0:
            return np.zeros(offsets[-1], dtype=np.bool_)
        sizes = np.diff(offsets)
        share = rng.random(len(sizes)) if self.vary_subgraph else np.ones(len(sizes))
        distance = _compute_distances(edge_index, offsets[-1], offsets[:-1] + rng.integers(sizes))
        counts = np.floor(share * self.subgraph * sizes).astype(np.int64)
        keys = distance + rng.random(len(distance))  # the fraction breaks ties at random
        # Atoms that are not connected to the random atom are never removed.
        return _select_smallest(keys, offsets, counts) & np.isfinite(distance)

    @staticmethod
    def _add_random(
        selected: Mask, offsets: NDArray[np.int64], share: float, fewest: int, rng: Rng
    ) -> Mask:
        """Add random items to those selected, up to the share of each molecule."""
        if share == 0:
            return selected
        counts = np.maximum(fewest, np.floor(share * np.diff(offsets))).astype(np.int64)
        keys = rng.random(len(selected)) - selected  # below 0 for items that are selected already
        return selected | _select_smallest(keys, offsets, counts)


def _select_smallest(
    keys: NDArray[np.float64], offsets: NDArray[np.int64], counts: NDArray[np.int64]
) -> Mask:
    """Select the items with the smallest keys of their molecule, ``counts[i]`` of molecule i."""
    molecule = np.repeat(np.arange(len(counts)), np.diff(offsets))
    order = np.lexsort((keys, molecule))
    selected = np.empty(len(keys), dtype=np.bool_)
    selected[order] = np.arange(len(keys)) - offsets[molecule] < counts[molecule]
    return selected


def _compute_distances(
    edge_index: NDArray[np.int64], atoms: int, starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute the number of bonds between each atom and the start atom of its molecule, (atoms,).

    The search is breadth first. The distance is infinite where there is no path.
    """
    distance = np.full(atoms, np.inf)
    distance[starts] = 0
    start, end = edge_index
    reached, step = starts, 0
    while len(reached):
        step += 1
        neighbors = end[distance[start] == step - 1]
        reached = neighbors[np.isinf(distance[neighbors])]
        distance[reached] = step
    return distance


NAME = "contrastive"


class Contrastive:
    """MolCLR (Wang et al., Nat. Mach. Intell. 4:279, 2022): NT-Xent loss of two random views.

    In a view, a part of the molecule is hidden. The published strategies are

    ========  ============  ==============  ========================
    strategy  `mask_atoms`  `delete_bonds`  `subgraph`
    ========  ============  ==============  ========================
    node      0.25          0.25            0 (the default)
    subgraph  0             0               0.25
    mix       0.25          0.25            0.2 with `vary_subgraph`
    ========  ============  ==============  ========================

    They were trained without dropout (an option of the modality `graph`), and with hydrogens in
    the strategy mix only.

    Parameters
    ----------
    temperature : float
        Temperature τ of the loss.
    mask_atoms : float
        Share of the N atoms of a molecule: ``max(1, floor(share N))`` atoms are masked (element
        index 118, no chirality). If 0, only the atoms of the subgraph are masked.
    delete_bonds : float
        Share of the M bonds: ``floor(share M)`` bonds are deleted.
    subgraph : float
        Share of the atoms: the ``floor(share N)`` atoms nearest to a random atom, in bonds, are
        masked and lose all their bonds. They count towards the other two shares.
    vary_subgraph : bool
        Whether the share of the subgraph is drawn uniformly from 0 to `subgraph` for every view.
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
            require_option(NAME, name, share, "from 0 to 1", 0 <= share <= 1)
        require_option(NAME, "temperature", temperature, "above 0", temperature > 0)
        hides = any(shares.values())
        require_option(
            NAME, "mask_atoms", mask_atoms, "above 0 where nothing else is hidden", hides
        )
        allowed = subgraph > 0 or not vary_subgraph
        require_option(NAME, "vary_subgraph", vary_subgraph, "false where subgraph is 0", allowed)
        self.temperature = temperature
        self.mask_atoms, self.delete_bonds = mask_atoms, delete_bonds
        self.subgraph, self.vary_subgraph = subgraph, vary_subgraph

    @property
    def version(self) -> str:
        """Identity of the task: its revision and options."""
        return featurizer_version(NAME, 1, **vars(self))

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> ModalityFeatures:
        """Compute the graphs of the molecules."""
        records = [modality.featurize(smiles) for smiles in molecules.smiles]
        return ModalityFeatures.stack(modality.version, molecules.smiles, records)

    def model(self, encoder: nn.Module, *, seed: int) -> ContrastiveModel:
        """Build the encoder with the projection head of the published checkpoints."""
        from modalities.nn.objectives import ContrastiveModel
        from modalities.nn.random import seeded

        with seeded(seed):
            return ContrastiveModel(encoder, temperature=self.temperature)

    def collate(
        self, examples: ModalityFeatures, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Join 2 b graphs: one view of every row, then a second view of every row."""
        from modalities.nn.graph import batch_graphs

        views = GraphViews(self.mask_atoms, self.delete_bonds, self.subgraph, self.vary_subgraph)
        graphs = batch_graphs(examples, np.concatenate([rows, rows]))
        tensors: dict[str, torch.Tensor] = views.draw(graphs, rng).to_dict()
        return tensors
