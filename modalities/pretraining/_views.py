"""Random views of molecular graphs: atoms masked, bonds deleted, a connected part removed.

Shapes as in `modalities._graphs`: b molecules, t atoms, e directed bonds (e / 2 bonds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modalities._graphs import MASKED_ATOM, Graphs

Rng = np.random.Generator
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Views:
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

    def draw(self, graphs: Graphs, rng: Rng) -> Graphs:
        """Draw one view of every molecule."""
        removed = self._removed(graphs, rng)
        bonds = graphs.bonds[::2]
        lost = removed[bonds[:, 0]] | removed[bonds[:, 1]]
        masked = self._topped_up(removed, graphs.offsets, self.mask_atoms, 1, rng)
        deleted = self._topped_up(lost, _bond_offsets(graphs), self.delete_bonds, 0, rng)
        atoms = np.where(masked[:, None], MASKED_ATOM, graphs.atoms)
        return Graphs(atoms, graphs.bonds[np.repeat(~deleted, 2)], graphs.offsets)

    def _removed(self, graphs: Graphs, rng: Rng) -> Mask:
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


def _bond_offsets(graphs: Graphs) -> NDArray[np.int64]:
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


def _distances(graphs: Graphs, starts: NDArray[np.int64]) -> NDArray[np.float64]:
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
