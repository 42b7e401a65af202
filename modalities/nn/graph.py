"""Message passing networks on molecular graphs: MolCLR's GCN and GIN."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityFeatures

with warnings.catch_warnings():
    # PyG compiles some classes with TorchScript on import, which torch deprecates.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.jit")
    from torch_geometric.data import Batch, Data
    from torch_geometric.nn import (
        MessagePassing,
        global_add_pool,
        global_max_pool,
        global_mean_pool,
    )

HIDDEN, FEATURE, LAYERS = 300, 512, 5
"""Hidden width h, width of the embedding, and number of layers."""
ATOM_ROWS, CHIRALITY_ROWS = 119, 3
BOND_ROWS, DIRECTION_ROWS = 5, 3
SELF_LOOP = (4, 0)
"""Bond type and direction of the loop from every atom to itself."""
MASKED_ATOM = (118, 0)
"""Element and chirality of an atom that contrastive pretraining has masked."""
POOLS = {"mean": global_mean_pool, "add": global_add_pool, "max": global_max_pool}

Tensors = Mapping[str, torch.Tensor]


def batch_graphs(features: ModalityFeatures, rows: NDArray[np.int64]) -> Batch:
    """Join the graphs of these molecules into one.

    ``x`` (t, 2): atomic number - 1 and chirality of each atom. ``edge_index`` (2, e) and
    ``edge_attr`` (e, 2): from and to, type and direction of each bond. A bond has two consecutive
    columns, one for either direction. ``batch`` (t,): molecule of each atom. ``ptr`` (b + 1,): the
    atoms of molecule i are ``x[ptr[i]:ptr[i + 1]]``.
    """
    atoms, bonds = features.fields["atoms"], features.fields["bonds"]
    return Batch.from_data_list([_build_graph(atoms[row], bonds[row]) for row in rows])


def _build_graph(atoms: NDArray[np.integer[Any]], bonds: NDArray[np.integer[Any]]) -> Data:
    edges = torch.from_numpy(bonds.astype(np.int64))
    nodes = torch.from_numpy(atoms.astype(np.int64))
    return Data(x=nodes, edge_index=edges[:, :2].T, edge_attr=edges[:, 2:])


class MolclrLayer(MessagePassing):  # type: ignore[misc]  # PyG ships no types
    """Base of both layers: ``sum_j (x_j + t_ij + d_ij)`` over the neighbors j and i itself."""

    edge_embedding1: nn.Embedding
    edge_embedding2: nn.Embedding

    def sum_neighbors(
        self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor
    ) -> torch.Tensor:
        """Sum atoms (t, h) and bonds over the neighbors of every atom: -> (t, h).

        The self-loops are added to the sum and not as bonds, which saves a third of the messages.
        """
        bond_type, direction = SELF_LOOP
        loop = self.edge_embedding1.weight[bond_type] + self.edge_embedding2.weight[direction]
        bonds = self.edge_embedding1(edge_attr[:, 0]) + self.edge_embedding2(edge_attr[:, 1])
        summed: torch.Tensor = self.propagate(edge_index, x=x, bonds=bonds)
        return summed.add_(x).add_(loop)

    def message(self, x_j: torch.Tensor, bonds: torch.Tensor) -> torch.Tensor:
        """Return the message of each bond, (e, h)."""
        return x_j.add_(bonds)  # in place: PyG passes a copy of the source atoms


class GcnLayer(MolclrLayer):
    """GCN layer: ``x'_i = bias + sum_j (W x_j + t_ij + d_ij)`` over the neighbors j and i itself.

    t and d are one number per bond. The published network computes the usual degree normalization
    but does not use it, so it is omitted.
    """

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.weight = nn.Parameter(torch.empty(HIDDEN, HIDDEN))
        self.bias = nn.Parameter(torch.zeros(HIDDEN))
        self.edge_embedding1 = _build_embedding(BOND_ROWS, 1)
        self.edge_embedding2 = _build_embedding(DIRECTION_ROWS, 1)
        nn.init.xavier_uniform_(self.weight)

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor
    ) -> torch.Tensor:
        """Pass messages once: -> (t, h)."""
        return self.sum_neighbors(x @ self.weight, edge_index, edge_attr).add_(self.bias)


class GinLayer(MolclrLayer):
    """GIN layer: ``x'_i = MLP(sum_j (x_j + t_ij + d_ij))`` over the neighbors j and i itself."""

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.mlp = nn.Sequential(
            nn.Linear(HIDDEN, 2 * HIDDEN), nn.ReLU(), nn.Linear(2 * HIDDEN, HIDDEN)
        )
        self.edge_embedding1 = _build_embedding(BOND_ROWS, HIDDEN)
        self.edge_embedding2 = _build_embedding(DIRECTION_ROWS, HIDDEN)

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor
    ) -> torch.Tensor:
        """Pass messages once: -> (t, h)."""
        updated: torch.Tensor = self.mlp(self.sum_neighbors(x, edge_index, edge_attr))
        return updated


class MolclrEncoder(nn.Module):
    """MolCLR's encoder: five layers with batch norm, pooling, projection; ``feat_lin(pool(x^5))``.

    ``x^{l+1} = ReLU(BN(layer(x^l)))``, without ReLU after the last layer, and with dropout after
    every layer.

    Parameters
    ----------
    kind : {'gcn', 'gin'}
        Type of the layers.
    pooling : {'mean', 'add', 'max'}
        Pooling over the atoms of a molecule.
    dropout : float
        Dropout probability in training.
    """

    ignorable: ClassVar[tuple[str, ...]] = ("out_lin.",)
    """Prefixes of checkpoint weights that are not loaded: the contrastive projection head."""

    def __init__(
        self, kind: Literal["gcn", "gin"], *, pooling: Literal["mean", "add", "max"], dropout: float
    ) -> None:
        super().__init__()
        layer = GcnLayer if kind == "gcn" else GinLayer
        self.pool = POOLS[pooling]
        self.dropout = nn.Dropout(dropout)
        self.x_embedding1 = _build_embedding(ATOM_ROWS, HIDDEN)
        self.x_embedding2 = _build_embedding(CHIRALITY_ROWS, HIDDEN)
        self.gnns = nn.ModuleList(layer() for _ in range(LAYERS))
        self.batch_norms = nn.ModuleList(nn.BatchNorm1d(HIDDEN) for _ in range(LAYERS))
        self.feat_lin = nn.Linear(HIDDEN, FEATURE)

    @property
    def dim(self) -> int:
        """Width of the embedding: 512."""
        return FEATURE

    def stages(self) -> Sequence[nn.Module]:
        """Return seven stages: atom embeddings, five layers with their norms, the projection."""
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
        """Return the tensors of `batch_graphs` by name."""
        tensors: dict[str, torch.Tensor] = batch_graphs(features, rows).to_dict()
        return tensors

    def forward(self, batch: Tensors) -> torch.Tensor:
        """Embed a batch: -> (b, 512)."""
        atoms = batch["x"]
        x = self.x_embedding1(atoms[:, 0]) + self.x_embedding2(atoms[:, 1])  # (t, h)
        for level, (layer, norm) in enumerate(zip(self.gnns, self.batch_norms, strict=True)):
            x = norm(layer(x, batch["edge_index"], batch["edge_attr"]))
            x = self.dropout(x if level == LAYERS - 1 else x.relu_())
        pooled = self.pool(x, batch["batch"], size=len(batch["ptr"]) - 1)  # (b, h)
        embedding: torch.Tensor = self.feat_lin(pooled)
        return embedding


def _build_embedding(rows: int, width: int) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.xavier_uniform_(table.weight)
    return table
