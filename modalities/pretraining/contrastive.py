"""Contrastive pretraining of graph encoders on augmented views (MolCLR)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from modalities._base import ModalityError, ModalityFeatures
from modalities.featurizers.molecule import featurizer_version
from modalities.nn.graph import FEATURE, MASKED_ATOM, GraphBatch, MolclrEncoder
from modalities.pretraining._base import MoleculeBatch, require_option

if TYPE_CHECKING:
    from modalities._base import Modality

PROJECTION = 256


class ContrastiveModel(nn.Module):
    """``z = out_lin(encoder(view))``, trained by NT-Xent.

    ``L = mean_i -log( exp(s_ij / τ) / sum_{k != i} exp(s_ik / τ) )``: i runs over the 2 b views, j
    is the other view of the same molecule, s the cosine of z. Chen et al. (ICML 2020), equation 1.
    """

    def __init__(self, encoder: nn.Module, *, temperature: float) -> None:
        super().__init__()
        if not isinstance(encoder, MolclrEncoder):
            raise ModalityError(
                "objective 'contrastive' trains the encoder of 'graph', "
                f"not {type(encoder).__name__}"
            )
        self.encoder = encoder
        self.out_lin = nn.Sequential(
            nn.Linear(FEATURE, FEATURE), nn.ReLU(), nn.Linear(FEATURE, PROJECTION)
        )
        self.temperature = temperature

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return ``loss`` and ``top1_accuracy``: how many views are nearest to their other view."""
        logits = nt_xent_logits(self.out_lin(self.encoder(batch)), self.temperature)
        partner = torch.arange(len(logits), device=logits.device).roll(len(logits) // 2)
        found = logits.detach().argmax(dim=1) == partner
        return {"loss": cross_entropy(logits, partner), "top1_accuracy": found.float().mean()}


def nt_xent_logits(projections: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return ``s_ik / τ`` of projections (2 b, p), minus infinity for k = i; (2 b, 2 b)."""
    z = normalize(_precise(projections), dim=1)
    return (z @ z.T / temperature).fill_diagonal_(-torch.inf)


def _precise(values: torch.Tensor) -> torch.Tensor:
    """Return values in single precision at least: similarities are divided by a small number."""
    widest: Any = torch.promote_types(values.dtype, torch.float32)
    return values.to(widest)


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

    def draw(self, graphs: GraphBatch, rng: Rng) -> GraphBatch:
        """Draw one view of every molecule."""
        removed = self._removed(graphs, rng)
        bonds = graphs.bonds[::2]
        lost = removed[bonds[:, 0]] | removed[bonds[:, 1]]
        masked = self._topped_up(removed, graphs.offsets, self.mask_atoms, 1, rng)
        deleted = self._topped_up(lost, _bond_offsets(graphs), self.delete_bonds, 0, rng)
        atoms = np.where(masked[:, None], MASKED_ATOM, graphs.atoms)
        return GraphBatch(atoms, graphs.bonds[np.repeat(~deleted, 2)], graphs.offsets)

    def _removed(self, graphs: GraphBatch, rng: Rng) -> Mask:
        """Return the atoms of each molecule's removed part, (t,)."""
        if self.subgraph == 0:
            return np.zeros(len(graphs.atoms), dtype=np.bool_)
        sizes = np.diff(graphs.offsets)
        share = rng.random(len(sizes)) if self.vary_subgraph else np.ones(len(sizes))
        distance = _distances(graphs, graphs.offsets[:-1] + rng.integers(sizes))
        counts = np.floor(share * self.subgraph * sizes).astype(np.int64)
        return _first(distance + rng.random(len(distance)), graphs.offsets, counts) & np.isfinite(
            distance
        )

    @staticmethod
    def _topped_up(
        taken: Mask, offsets: NDArray[np.int64], share: float, fewest: int, rng: Rng
    ) -> Mask:
        """Return what is taken and, at random, more of it up to the share of each molecule."""
        if share == 0:
            return taken
        wanted = np.maximum(fewest, np.floor(share * np.diff(offsets))).astype(np.int64)
        return taken | _first(rng.random(len(taken)) - taken, offsets, wanted)


def _bond_offsets(graphs: GraphBatch) -> NDArray[np.int64]:
    """Return where each molecule's bonds begin in ``bonds[::2]``, (b + 1,).

    Bonds stand in the order of their molecules, though not of their atoms: that is enough here.
    """
    return np.searchsorted(graphs.bonds[::2, 0], graphs.offsets)


def _first(
    keys: NDArray[np.float64], offsets: NDArray[np.int64], counts: NDArray[np.int64]
) -> Mask:
    """Return which items have the smallest keys of their molecule, ``counts[i]`` of molecule i."""
    molecule = np.repeat(np.arange(len(counts)), np.diff(offsets))
    order = np.lexsort((keys, molecule))
    chosen = np.empty(len(keys), dtype=np.bool_)
    chosen[order] = np.arange(len(keys)) - offsets[molecule] < counts[molecule]
    return chosen


def _distances(graphs: GraphBatch, starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the bonds between each atom and its molecule's start, breadth first; (t,).

    Infinite where no path leads.
    """
    distance = np.full(len(graphs.atoms), np.inf)
    distance[starts] = 0
    start, end = graphs.bonds[:, 0], graphs.bonds[:, 1]
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
        from modalities.nn.random import seeded

        with seeded(seed):
            return ContrastiveModel(encoder, temperature=self.temperature)

    def collate(
        self, examples: ModalityFeatures, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Join 2 b graphs: one view of each row, then another of each row."""
        from modalities.nn.graph import GraphBatch

        views = GraphViews(self.mask_atoms, self.delete_bonds, self.subgraph, self.vary_subgraph)
        graphs = GraphBatch.gather(examples, np.concatenate([rows, rows]))
        return views.draw(graphs, rng).tensors()
