"""An arm as the inference sees it: AUROC by trial and label, and each molecule's pull on it.

Shapes: n molecules of the table, l labels, r trials.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from study.analysis.influence import Floats, pooled_auroc, pull
from study.cells import Cell, Repeat, repeat_of
from study.contrasts import models_of
from study.errors import StudyError
from study.metrics import macro_mean
from study.result import TrialResult


@dataclass(frozen=True, eq=False)
class Arm:
    """Finished trials of one cell, in the order of seeds, repeats and folds.

    Attributes
    ----------
    cell : Cell
    keys : tuple of Repeat, (r,)
        Rising.
    auroc, average_precision : ndarray of float64, (r, l)
        NaN where undefined.
    influence : ndarray of float32, (n, l)
        Pull of each molecule on the mean of the AUROC over the trials.
    micro : ndarray of float64, (r,)
        AUROC over all molecule and label pairs of a trial: logged, never headlined.
    parameters : float
        Trained weights, mean over the trials.
    models : int
        Models whose scores are averaged: 1 unless the arm is an ensemble.
    seconds : float
        Mean wall time of a fit.
    """

    cell: Cell
    keys: tuple[Repeat, ...]
    auroc: Floats
    average_precision: Floats
    influence: NDArray[np.float32]
    micro: Floats
    parameters: float
    models: int
    seconds: float

    @cached_property
    def level(self) -> float:
        """Macro AUROC: mean over labels, then over trials; NaN if a label is undefined."""
        return float(np.mean([macro_mean(trial).value for trial in self.auroc]))

    def values(self, weights: Floats) -> Floats:
        """Weighted sum of the AUROC over labels, (r,); labels of weight 0 may be undefined."""
        used = weights != 0
        sums: Floats = self.auroc[:, used] @ weights[used]
        return sums

    def pulls(self, weights: Floats) -> Floats:
        """Pull of each molecule on the mean of `values` over the trials, (n,)."""
        used = weights != 0
        sums: Floats = self.influence[:, used].astype(np.float64) @ weights[used]
        return sums


def arm_of(
    results: Sequence[TrialResult],
    molecules: int,
    keys: Collection[Repeat] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Arm:
    """Gather the finished trials of one cell.

    Parameters
    ----------
    results : sequence of TrialResult
        Of one cell, at least one.
    molecules : int
        Rows of the table, n.
    keys : collection of Repeat, optional
        Only these trials: those that another arm has too.
    groups : ndarray of int64, (n,), optional
        Groups of the split, so that the spread of few groups is not understated.

    Raises
    ------
    StudyError
        There is no such trial, or the trials are of several cells.
    """
    by_key = {repeat_of(result.spec): result for result in results}
    chosen = sorted(by_key if keys is None else by_key.keys() & set(keys))
    cells = {result.spec.cell.id for result in results}
    if not chosen or len(cells) != 1:
        raise StudyError(f"an arm is made of trials of one cell, not of {len(cells)} cells")
    trials = [by_key[key] for key in chosen]
    influence = np.zeros((molecules, len(trials[0].label_names)), dtype=np.float32)
    levels, precisions = [], []
    for trial in trials:
        own = None if groups is None else groups[trial.test_rows]
        found = pull(trial.test_labels, trial.scores, own)
        levels.append(found.auroc)
        precisions.append(found.average_precision)
        influence[trial.test_rows] += (found.influence / len(trials)).astype(np.float32)
    cell = trials[0].spec.cell
    return Arm(
        cell=cell,
        keys=tuple(chosen),
        auroc=np.array(levels),
        average_precision=np.array(precisions),
        influence=influence,
        micro=np.array([pooled_auroc(trial.test_labels, trial.scores) for trial in trials]),
        parameters=float(np.mean([trial.counts.get("parameters", 0) for trial in trials])),
        models=models_of(cell),
        seconds=float(np.mean([trial.seconds for trial in trials])),
    )
