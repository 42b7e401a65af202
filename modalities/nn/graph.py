"""Message passing networks on molecular graphs: MolCLR's GCN and GIN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityFeatures
from modalities.nn.random import Dropout

BOND_ROWS, DIRECTION_ROWS = 5, 3
SELF_LOOP = (4, 0)
"""Bond type and direction of the loop from every atom to itself."""
MASKED_ATOM = (118, 0)
"""Element and chirality that contrastive pretraining puts in the place of an atom's."""

Batch = Mapping[str, torch.Tensor]
Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Several molecules as one graph.

    Attributes
    ----------
    atoms : ndarray of int, (t, 2)
        Atomic number - 1, chirality tag.
    bonds : ndarray of int, (e, 4)
        From and to (rows of `atoms`), type, direction; each bond once in each direction, the two
        one after the other.
    offsets : ndarray of int64, (b + 1,)
        Molecule i owns ``atoms[offsets[i]:offsets[i + 1]]``.
    """

    atoms: Ints
    bonds: Ints
    offsets: NDArray[np.int64]

    @classmethod
    def gather(cls, features: ModalityFeatures, rows: NDArray[np.int64]) -> GraphBatch:
        """Join the graphs of these molecules."""
        atoms, bonds = features.fields["atoms"].take(rows), features.fields["bonds"].take(rows)
        joined = bonds.values.astype(np.int64)
        joined[:, :2] += np.repeat(atoms.offsets[:-1], bonds.lengths)[:, None]
        return cls(atoms.values, joined, atoms.offsets)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a network reads; every atom is its own neighbor too.

        ``kinds`` (u, 2): distinct atoms. ``kind_counts`` (t, u): neighbors of each kind.
        ``bond_counts`` (t, 8): arriving bonds by type and by direction. ``neighbors`` (e + t,):
        atoms, by the atom they send to; ``ends`` (t + 1,): where each atom's neighbors begin.
        ``offsets`` (b + 1,).
        """
        start, end, kind, way = self._with_loops()
        total = len(self.atoms)
        kinds, kind_of = np.unique(self.atoms, axis=0, return_inverse=True)
        by_type = _counts(end, kind, (total, BOND_ROWS))
        by_way = _counts(end, way, (total, DIRECTION_ROWS))
        arrays = {
            "kinds": kinds.astype(np.int64),
            "kind_counts": _counts(end, kind_of[start], (total, len(kinds))),
            "bond_counts": np.concatenate([by_type, by_way], axis=1),
            "neighbors": start[np.argsort(end, kind="stable")].astype(np.int32),
            "ends": np.searchsorted(np.sort(end), np.arange(total + 1)).astype(np.int32),
            "offsets": self.offsets,
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _with_loops(self) -> NDArray[np.int64]:
        """Return bonds and loops by column: from, to, type, direction, (4, e + t)."""
        loops = np.empty((4, len(self.atoms)), dtype=np.int64)
        loops[:2] = np.arange(len(self.atoms))
        loops[2:] = np.array(SELF_LOOP)[:, None]
        return np.concatenate([self.bonds.T, loops], axis=1)


class NeighborSum(torch.autograd.Function):
    """``y_i = sum_j x_j`` over the neighbors j of atom i, without a copy of x for every bond.

    Neighbors are mutual, so the gradient is the same sum over the gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch's own)
        x: torch.Tensor,
        neighbors: torch.Tensor,
        ends: torch.Tensor,
    ) -> torch.Tensor:
        """Sum over the neighbors of every atom."""
        ctx.save_for_backward(neighbors, ends)
        return _neighbor_sum(x, neighbors, ends)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 (torch's own)
        gradient: torch.Tensor,
    ) -> tuple[torch.Tensor, None, None]:
        """Sum the gradients over the neighbors of every atom."""
        return _neighbor_sum(gradient.contiguous(), *ctx.saved_tensors), None, None


def neighbor_sum(x: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Sum x (t, h), one row an atom, over the neighbors of every atom: -> (t, h)."""
    summed: torch.Tensor = NeighborSum.apply(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        x, batch["neighbors"], batch["ends"]
    )
    return summed


def kind_sum(x: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Sum x (u, h), one row a kind of atom, over the neighbors of every atom: -> (t, h)."""
    return batch["kind_counts"].to(x.dtype) @ x


def bond_sum(by_type: torch.Tensor, by_way: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Sum the rows of the bonds that arrive at every atom: (5, h), (3, h) -> (t, h)."""
    table = torch.cat([by_type, by_way])
    return batch["bond_counts"].to(table.dtype) @ table


def _neighbor_sum(x: torch.Tensor, neighbors: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.embedding_bag(
        neighbors, x, ends, mode="sum", include_last_offset=True
    )


def _counts(row: Ints, column: Ints, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return how often each (row, column) occurs."""
    flat = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float32)


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
        """Join graphs into the tensors of `GraphBatch.tensors`."""
        return GraphBatch.gather(features, rows).tensors()

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
