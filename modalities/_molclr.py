"""MolCLR's two graph networks, in the parameter layout of the published checkpoints.

Wang, Wang, Cao and Barati Farimani, Nat. Mach. Intell. 4:279 (2022). Shapes: t atoms of the
whole batch, u kinds of atom, h = 300 hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityFeatures
from modalities._dropout import Dropout
from modalities._graphs import (
    BOND_ROWS,
    DIRECTION_ROWS,
    Batch,
    Graphs,
    bond_sum,
    kind_sum,
    neighbor_sum,
)

HIDDEN, FEATURE, LAYERS = 300, 512, 5
ATOM_ROWS, CHIRALITY_ROWS = 119, 3

Gather = Callable[[torch.Tensor, Batch], torch.Tensor]
"""What atoms or kinds of atom send -> its sum over the neighbors of every atom, (t, h)."""


class GcnLayer(nn.Module):
    """``x'_i = bias + sum_j (W x_j + t_ij + d_ij)`` over neighbors j and i itself.

    t and d are one number a bond. The published network computes the usual degree normalization
    and does not use it; so it is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(HIDDEN, HIDDEN))
        self.bias = nn.Parameter(torch.zeros(HIDDEN))
        self.edge_embedding1 = _embedding(BOND_ROWS, 1)
        self.edge_embedding2 = _embedding(DIRECTION_ROWS, 1)
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: torch.Tensor, gather: Gather, batch: Batch) -> torch.Tensor:
        """Pass messages once; `gather` sums over neighbors: -> (t, h)."""
        bonds = bond_sum(self.edge_embedding1.weight, self.edge_embedding2.weight, batch)  # (t, 1)
        return gather(x @ self.weight, batch) + bonds + self.bias


class GinLayer(nn.Module):
    """``x'_i = MLP(sum_j (x_j + t_ij + d_ij))`` over neighbors j and i itself."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(HIDDEN, 2 * HIDDEN), nn.ReLU(), nn.Linear(2 * HIDDEN, HIDDEN)
        )
        self.edge_embedding1 = _embedding(BOND_ROWS, HIDDEN)
        self.edge_embedding2 = _embedding(DIRECTION_ROWS, HIDDEN)

    def forward(self, x: torch.Tensor, gather: Gather, batch: Batch) -> torch.Tensor:
        """Pass messages once; `gather` sums over neighbors: -> (t, h)."""
        bonds = bond_sum(self.edge_embedding1.weight, self.edge_embedding2.weight, batch)  # (t, h)
        mixed: torch.Tensor = self.mlp(gather(x, batch) + bonds)
        return mixed


class MolclrEncoder(nn.Module):
    """Five layers, each with batch norm, pooled and projected: ``feat_lin(pool(x^5))``.

    ``x^{l+1} = ReLU(BN(layer(x^l)))``, no ReLU after the last layer; dropout after each.

    Parameters
    ----------
    kind : {'gcn', 'gin'}
        The layer.
    pooling : {'mean', 'add', 'max'}
        Over the atoms of a molecule.
    dropout : float
        While training.
    """

    ignorable: ClassVar[tuple[str, ...]] = ("out_lin.",)
    """Weights of the checkpoint that belong to the contrastive loss: its projection head."""

    def __init__(
        self, kind: Literal["gcn", "gin"], *, pooling: Literal["mean", "add", "max"], dropout: float
    ) -> None:
        super().__init__()
        layer = GcnLayer if kind == "gcn" else GinLayer
        self.pooling = pooling
        self.dropout = Dropout(dropout)
        self.x_embedding1 = _embedding(ATOM_ROWS, HIDDEN)
        self.x_embedding2 = _embedding(CHIRALITY_ROWS, HIDDEN)
        self.gnns = nn.ModuleList(layer() for _ in range(LAYERS))
        self.batch_norms = nn.ModuleList(nn.BatchNorm1d(HIDDEN) for _ in range(LAYERS))
        self.feat_lin = nn.Linear(HIDDEN, FEATURE)

    @property
    def dim(self) -> int:
        """Width of the embedding: 512."""
        return FEATURE

    def stages(self) -> Sequence[nn.Module]:
        """Atom embeddings, five layers with their norms, the projection: 7 stages."""
        layers = zip(self.gnns, self.batch_norms, strict=True)
        return [
            nn.ModuleList([self.x_embedding1, self.x_embedding2]),
            *(nn.ModuleList([layer, norm]) for layer, norm in layers),
            self.feat_lin,
        ]

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Fit nothing: all weights are trained."""

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Join graphs into the tensors of `Graphs.tensors`."""
        return Graphs.gather(features, rows).tensors()

    def forward(self, batch: Batch) -> torch.Tensor:
        """Embed a batch: -> (b, 512).

        Before the first layer atoms of one kind are equal, so that it works on kinds.
        """
        kinds = batch["kinds"]
        x = self.x_embedding1(kinds[:, 0]) + self.x_embedding2(kinds[:, 1])  # (u, h)
        for level, (layer, norm) in enumerate(zip(self.gnns, self.batch_norms, strict=True)):
            x = norm(layer(x, neighbor_sum if level else kind_sum, batch))  # (t, h)
            x = self.dropout(x if level == LAYERS - 1 else x.relu_())
        reduce = "sum" if self.pooling == "add" else self.pooling
        pooled = torch.segment_reduce(x, reduce, offsets=batch["offsets"])  # (b, h)
        embedding: torch.Tensor = self.feat_lin(pooled)
        return embedding


def _embedding(rows: int, width: int) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.xavier_uniform_(table.weight)
    return table
