"""Molecular graphs of a batch, joined into the tensors that message passing reads.

Shapes: b molecules, t atoms of the whole batch, e directed bonds, u kinds of atom (distinct rows
of ``atoms``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modalities._base import ModalityFeatures

BOND_ROWS, DIRECTION_ROWS = 5, 3
SELF_LOOP = (4, 0)
"""Bond type and direction of the loop from every atom to itself."""
MASKED_ATOM = (118, 0)
"""Element and chirality that contrastive pretraining puts in the place of an atom's."""

Batch = Mapping[str, torch.Tensor]
Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Graphs:
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
    def gather(cls, features: ModalityFeatures, rows: NDArray[np.int64]) -> Graphs:
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
        ctx.save_for_backward(neighbors, ends)
        return _neighbor_sum(x, neighbors, ends)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 (torch's own)
        gradient: torch.Tensor,
    ) -> tuple[torch.Tensor, None, None]:
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
