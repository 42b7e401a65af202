"""Which modality owns which label under a fixed partition, and how stable that is over folds.

Shapes: r trials, l labels, k modalities.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.analysis.evidence import Evidence
from study.cells import Cell
from study.result import TrialResult

Owners = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ownership:
    """The owners of an arm's labels.

    Attributes
    ----------
    cell : Cell
    modalities : tuple of str, (k,)
        Names that owners number.
    owners : ndarray of int64, (r, l)
        Owner of each label in each trial, in the order of seeds, repeats and folds.
    agreement : float
        Share of labels with the same owner, mean over all pairs of trials; NaN with one trial.
    jaccard : float
        Labels that a modality owns in both trials over those that it owns in either, mean over
        modalities and pairs; NaN with one trial.
    """

    cell: Cell
    modalities: tuple[str, ...]
    owners: Owners
    agreement: float
    jaccard: float


def ownerships(evidence: Evidence) -> tuple[Ownership, ...]:
    """Return the owners of every arm whose finished trials recorded a fixed partition."""
    cells = [cell for cell in evidence.record.plan.cells if cell.partition is not None]
    found = [(cell, _recorded(evidence.record.results_of(cell))) for cell in cells]
    return tuple(_ownership(cell, owners) for cell, owners in found if len(owners))


def agreement(owners: Owners) -> float:
    """Share of labels with the same owner, mean over all pairs of rows of (r, l)."""
    return _mean([float(np.mean(one == other)) for one, other in itertools.combinations(owners, 2)])


def jaccard(owners: Owners, modalities: int) -> float:
    """Jaccard index of the labels of each modality, mean over modalities and pairs of (r, l).

    A modality that owns nothing in either row has none and is left out.
    """
    pairs = itertools.combinations(owners, 2)
    return _mean([_overlap(a, b, m) for a, b in pairs for m in range(modalities) if m in (*a, *b)])


def _overlap(one: Owners, other: Owners, modality: int) -> float:
    mine, theirs = one == modality, other == modality
    return float((mine & theirs).sum() / (mine | theirs).sum())


def _ownership(cell: Cell, owners: Owners) -> Ownership:
    overlap = jaccard(owners, len(cell.names))
    return Ownership(cell, cell.names, owners, agreement(owners), overlap)


def _recorded(results: Sequence[TrialResult]) -> Owners:
    return np.array([result.owners for result in results if result.owners], dtype=np.int64)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
