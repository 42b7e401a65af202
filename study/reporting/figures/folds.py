"""Paired fold plot: one line per fold across the arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.reporting.document import Figure
from study.reporting.figures.canvas import (
    COLORS,
    INK,
    LINES,
    MARKERS,
    NARROW,
    FigureTexts,
    compute_row_height,
    draw_figure,
    label_rows,
    wrap_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

RepeatFold = tuple[int, int]
"""Repeat and fold."""
MAX_NAMED = 6
"""Maximum number of folds in the legend."""


def draw_folds(
    arms: Sequence[str], scores: Sequence[Mapping[RepeatFold, float]], scope: str
) -> Figure:
    """Draw the macro AUROC of every arm on every fold.

    Parameters
    ----------
    arms : sequence of str, (k,)
    scores : sequence of mapping of (repeat, fold) to float, (k,)
    scope : str
        Text on which arms are shown.
    """
    rows = [wrap_text(arm, 34) for arm in arms]
    folds = sorted({fold for by_fold in scores for fold in by_fold})

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, fold in enumerate(folds):
            values = [by_fold.get(fold, np.nan) for by_fold in scores]
            axes.plot(
                values, range(len(rows)), marker=MARKERS[i % 6], markersize=4.5, linewidth=0.9,
                linestyle=LINES[i % 6], color=COLORS[i % 6], label=_name_fold(fold, folds),
            )  # fmt: skip
        means = [np.mean(list(by_fold.values())) for by_fold in scores]
        axes.plot(means, range(len(rows)), "|", color=INK, markersize=13, markeredgewidth=2)
        label_rows(axes, rows)
        axes.set_xlabel("macro AUROC of a test fold")
        axes.grid(axis="x")
        if len(folds) <= MAX_NAMED:
            canvas.legend(loc="outside lower center", ncols=3)

    texts = FigureTexts("folds", "Every fold", _describe(arms, scores), _build_caption(scope))
    return draw_figure(texts, (NARROW, 1.0 + compute_row_height(rows)), paint)


def _name_fold(fold: RepeatFold, folds: Sequence[RepeatFold]) -> str:
    several_repeats = len({repeat for repeat, _ in folds}) > 1
    return f"repeat {fold[0]} fold {fold[1]}" if several_repeats else f"fold {fold[1]}"


def _build_caption(scope: str) -> str:
    return (
        f"{scope}. One line per fold, mean over the seeds; vertical mark: mean of the folds. "
        "Parallel lines show the benefit of pairing: a fold that is hard is hard for all arms."
    )


def _describe(arms: Sequence[str], scores: Sequence[Mapping[RepeatFold, float]]) -> str:
    parts = [
        f"{arm}: {min(by_fold.values()):.3f} to {max(by_fold.values()):.3f}"
        for arm, by_fold in zip(arms, scores, strict=True)
    ]
    return "Macro AUROC on each test fold, lowest to highest. " + "; ".join(parts) + "."
