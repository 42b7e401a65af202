"""MolCLR's two graph networks, in the parameter layout of the published checkpoints.

Wang, Wang, Cao and Barati Farimani, Nat. Mach. Intell. 4:279 (2022). Shapes: t atoms of the
whole batch, e directed bonds, h = 300 hidden.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityFeatures

with warnings.catch_warnings():  # it still scripts some functions, which torch calls deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.nn import (
        MessagePassing,
        global_add_pool,
        global_max_pool,
        global_mean_pool,
    )

HIDDEN, FEATURE, LAYERS = 300, 512, 5
ATOM_ROWS, CHIRALITY_ROWS = 119, 3
BOND_ROWS, DIRECTION_ROWS = 5, 3
SELF_LOOP = (4, 0)
"""Bond type and direction of the loop from every atom to itself."""

Pool = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
POOLS: Mapping[str, Pool] = {
    "mean": global_mean_pool,
    "add": global_add_pool,
    "max": global_max_pool,
}


class GcnLayer(MessagePassing):  # type: ignore[misc]  # PyG has no types
    """``x'_i = bias + sum_j (W x_j + t_ij + d_ij)`` over neighbors j and i itself.

    t and d are one number a bond. The published network computes the usual degree normalization
    and does not use it; so it is left out.
    """

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.weight = nn.Parameter(torch.empty(HIDDEN, HIDDEN))
        self.bias = nn.Parameter(torch.zeros(HIDDEN))
        self.edge_embedding1 = _embedding(BOND_ROWS, 1)
        self.edge_embedding2 = _embedding(DIRECTION_ROWS, 1)
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: torch.Tensor, edges: torch.Tensor, bonds: torch.Tensor) -> torch.Tensor:
        """Pass messages once: x (t, h), edges (2, e), bonds (e, 2) -> (t, h)."""
        bond = self.edge_embedding1(bonds[:, 0]) + self.edge_embedding2(bonds[:, 1])  # (e, 1)
        summed: torch.Tensor = self.propagate(edges, x=x @ self.weight, bond=bond)
        return summed + self.bias

    def message(self, x_j: torch.Tensor, bond: torch.Tensor) -> torch.Tensor:
        """Return what atom j sends over each bond, (e, h)."""
        return x_j + bond


class GinLayer(MessagePassing):  # type: ignore[misc]  # PyG has no types
    """``x'_i = MLP(sum_j (x_j + t_ij + d_ij))`` over neighbors j and i itself."""

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.mlp = nn.Sequential(
            nn.Linear(HIDDEN, 2 * HIDDEN), nn.ReLU(), nn.Linear(2 * HIDDEN, HIDDEN)
        )
        self.edge_embedding1 = _embedding(BOND_ROWS, HIDDEN)
        self.edge_embedding2 = _embedding(DIRECTION_ROWS, HIDDEN)

    def forward(self, x: torch.Tensor, edges: torch.Tensor, bonds: torch.Tensor) -> torch.Tensor:
        """Pass messages once: x (t, h), edges (2, e), bonds (e, 2) -> (t, h)."""
        bond = self.edge_embedding1(bonds[:, 0]) + self.edge_embedding2(bonds[:, 1])  # (e, h)
        mixed: torch.Tensor = self.mlp(self.propagate(edges, x=x, bond=bond))
        return mixed

    def message(self, x_j: torch.Tensor, bond: torch.Tensor) -> torch.Tensor:
        """Return what atom j sends over each bond, (e, h)."""
        return x_j + bond


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
        self.dropout = nn.Dropout(dropout)
        self.x_embedding1 = _embedding(ATOM_ROWS, HIDDEN)
        self.x_embedding2 = _embedding(CHIRALITY_ROWS, HIDDEN)
        self.gnns = nn.ModuleList(layer() for _ in range(LAYERS))
        self.batch_norms = nn.ModuleList(nn.BatchNorm1d(HIDDEN) for _ in range(LAYERS))
        self.feat_lin = nn.Linear(HIDDEN, FEATURE)

    @property
    def dim(self) -> int:
        """Width of the embedding: 512."""
        return FEATURE

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Fit nothing: all weights are trained."""

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Join graphs: atoms (t, 2), edges (2, e), bonds (e, 2), offsets (b + 1,)."""
        atoms, bonds = features.fields["atoms"].take(rows), features.fields["bonds"].take(rows)
        first = np.repeat(atoms.offsets[:-1], bonds.lengths)  # of each bond's molecule, (e,)
        return {
            "atoms": torch.from_numpy(atoms.values.astype(np.int64)),
            "edges": torch.from_numpy(bonds.values[:, :2].T + first),
            "bonds": torch.from_numpy(bonds.values[:, 2:].astype(np.int64)),
            "offsets": torch.from_numpy(atoms.offsets),
        }

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, 512)."""
        atoms, offsets = batch["atoms"], batch["offsets"]
        edges, bonds = _with_self_loops(batch["edges"], batch["bonds"], len(atoms))
        x = self.x_embedding1(atoms[:, 0]) + self.x_embedding2(atoms[:, 1])  # (t, h)
        for level, (layer, norm) in enumerate(zip(self.gnns, self.batch_norms, strict=True)):
            x = norm(layer(x, edges, bonds))
            x = self.dropout(x if level == LAYERS - 1 else x.relu())
        size = len(offsets) - 1
        molecule = torch.repeat_interleave(
            torch.arange(size, device=x.device), offsets.diff(), output_size=len(atoms)
        )
        embedding: torch.Tensor = self.feat_lin(POOLS[self.pooling](x, molecule, size))
        return embedding


def _embedding(rows: int, width: int) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.xavier_uniform_(table.weight)
    return table


def _with_self_loops(
    edges: torch.Tensor, bonds: torch.Tensor, atoms: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add the loop of every atom, which also serves atoms without bonds."""
    loops = torch.arange(atoms, device=edges.device).expand(2, -1)
    kind = torch.tensor(SELF_LOOP, device=bonds.device).expand(atoms, -1)
    return torch.cat([edges, loops], dim=1), torch.cat([bonds, kind])
