"""Labels of simulated molecules: rules, noise and skew with a known answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]
Label = NDArray[np.bool_]

_MOST_FREQUENT = 0.3
_TERMS = 3


@dataclass(frozen=True)
class Mix:
    """How many labels of each kind, and how clean and how unequal they are.

    Attributes
    ----------
    structure, stereo, permuted : int
        Number of labels of the kind.
    noise : float
        Share of a label's positives that are swapped with random negatives.
    skew : float
        Positives of the most frequent ranked label over those of the rarest.
    """

    structure: int
    stereo: int
    permuted: int
    noise: float
    skew: float


def label_pairs(counts: Counts, mix: Mix, rng: np.random.Generator) -> dict[str, Label]:
    """Label mirror pairs by their structural counts (pairs, c).

    Returns
    -------
    dict of str to ndarray of bool, (2 pairs,)
        By label name; molecules in the order left, right, left, ...
    """
    columns: dict[str, Label] = {}
    for name, share in _ranked(mix):
        column = swap(highest(counts, share, rng).repeat(2), mix.noise, rng)
        columns[name] = rng.permutation(column) if name.startswith("permuted") else column
    right = np.tile([False, True], len(counts))
    for i in range(mix.stereo):
        column = right ^ flips(counts, i).repeat(2)
        columns[f"stereo_{i:03d}"] = swap(column, mix.noise, rng)
    return columns


def _ranked(mix: Mix) -> list[tuple[str, float]]:
    """Name and share of positives of structure and permuted labels, falling geometrically.

    Permuted labels are spread over the whole range, so that both kinds are frequent and rare.
    """
    n = mix.structure + mix.permuted
    shares = _MOST_FREQUENT * mix.skew ** -np.linspace(0, 1, n)
    permuted = set(np.linspace(0, n - 1, mix.permuted).round().astype(int).tolist())
    names = ["permuted" if rank in permuted else "structure" for rank in range(n)]
    numbered = [f"{kind}_{names[:rank].count(kind):03d}" for rank, kind in enumerate(names)]
    return list(zip(numbered, shares.tolist(), strict=True))


def highest(counts: Counts, share: float, rng: np.random.Generator) -> Label:
    """Label the share of constitutions that score highest in three weighted counts, (pairs,)."""
    varied = np.flatnonzero(counts.std(axis=0) > 0)
    chosen = rng.choice(varied, size=min(_TERMS, len(varied)), replace=False)
    z = (counts - counts.mean(axis=0))[:, chosen] / counts.std(axis=0)[chosen]
    weights = rng.choice([-1.0, 1.0], len(chosen)) * rng.uniform(0.5, 1.5, len(chosen))
    label = np.zeros(len(counts), dtype=np.bool_)
    label[np.argsort(-(z @ weights), kind="stable")[: max(1, round(share * len(counts)))]] = True
    return label


def flips(counts: Counts, i: int) -> Label:
    """Where stereo label i reads the mark the other way round, (pairs,): nowhere for i = 0."""
    if i == 0:
        return np.zeros(len(counts), dtype=np.bool_)
    column = counts[:, (i - 1) % counts.shape[1]]
    above: Label = column > np.median(column)
    return above


def swap(label: Label, noise: float, rng: np.random.Generator) -> Label:
    """Swap a share of the positives with random negatives; the number of positives stays."""
    positive, negative = np.flatnonzero(label), np.flatnonzero(~label)
    k = min(round(noise * len(positive)), len(negative))
    noisy = label.copy()
    noisy[rng.choice(positive, k, replace=False)] = False
    noisy[rng.choice(negative, k, replace=False)] = True
    return noisy
