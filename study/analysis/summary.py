"""One row a cell: means over its trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.cells import Cell, Repeat, repeat_of
from study.metrics import density_fifths, fifth_means, macro_mean
from study.result import TrialResult

Floats = NDArray[np.float64]

STARTED = 2
"""A trial that was best in one of its first epochs never left the plateau it began on."""


@dataclass(frozen=True)
class CellSummary:
    """A cell in figures.

    Attributes
    ----------
    cell : Cell
    repeats : int
        Finished trials.
    missing : int
        Trials of the plan without a result.
    auroc, average_precision : float
        Macro means over labels, then over trials; NaN without trials, and where a label is
        undefined in one of them.
    auroc_sd : float
        Standard deviation of the macro AUROC over the trials.
    folds : tuple of float
        Macro AUROC of each trial.
    fifths : tuple of float
        AUROC of the density fifths, densest first.
    undefined : int
        Label and fold pairs without a defined AUROC.
    unconverged : int
        Trials whose best epoch was the last one allowed, or one of the first two (stopped on
        the plateau they began on): more epochs or patience could change them.
    seconds : float
        Mean wall time of a fit.
    """

    cell: Cell
    repeats: int
    missing: int
    auroc: float
    auroc_sd: float
    average_precision: float
    folds: tuple[float, ...]
    fifths: tuple[float, ...]
    undefined: int
    unconverged: int
    seconds: float


def summarise(
    cells: Sequence[Cell],
    results: Sequence[TrialResult],
    positives: NDArray[np.int64],
    expected: int,
) -> list[CellSummary]:
    """Summarise every cell of a study in the order given.

    Parameters
    ----------
    cells : sequence of Cell
    results : sequence of TrialResult
        Finished trials of these cells.
    positives : ndarray of int64, (l,)
        Positives of each label in the whole table: the density that the fifths go by.
    expected : int
        Trials a complete cell has.
    """
    fifths = density_fifths(positives)
    by_cell: dict[str, dict[Repeat, TrialResult]] = {cell.id: {} for cell in cells}
    for result in results:
        spec = result.spec
        by_cell.get(spec.cell.id, {})[repeat_of(spec)] = result
    return [
        _summary(cell, [trial for _, trial in sorted(by_cell[cell.id].items())], fifths, expected)
        for cell in cells
    ]


def _summary(
    cell: Cell,
    trials: Sequence[TrialResult],
    fifths: NDArray[np.int64],
    expected: int,
) -> CellSummary:
    folds = [macro_mean(trial.auroc) for trial in trials]
    levels = [fold.value for fold in folds]
    by_fifth = [fifth_means(trial.auroc, fifths) for trial in trials]
    return CellSummary(
        cell=cell,
        repeats=len(trials),
        missing=expected - len(trials),
        auroc=_mean(levels),
        auroc_sd=_sd(levels),
        average_precision=_mean([macro_mean(trial.average_precision).value for trial in trials]),
        folds=tuple(levels),
        fifths=tuple(float(v) for v in np.mean(by_fifth, axis=0)) if trials else (),
        undefined=sum(fold.undefined for fold in folds),
        unconverged=sum(_unsettled(trial) for trial in trials),
        seconds=_mean([trial.seconds for trial in trials]),
    )


def _unsettled(trial: TrialResult) -> bool:
    if "best_epoch" not in trial.counts:  # an average of members: nothing was trained
        return False
    best = trial.counts["best_epoch"]
    return best <= STARTED or best >= trial.spec.cell.training.epochs


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
