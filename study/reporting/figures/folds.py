"""Paired fold plot: one line a fold across the arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.reporting.document import Figure
from study.reporting.figures._canvas import (
    COLORS,
    INK,
    LINES,
    MARKERS,
    NARROW,
    FigureTexts,
    draw_svg,
    label_rows,
    row_height,
    wrap_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

Place = tuple[int, int]
MOST_NAMED = 6
"""Folds with a line of their own in the legend."""


def draw_folds(arms: Sequence[str], scores: Sequence[Mapping[Place, float]], scope: str) -> Figure:
    """Draw the macro AUROC of every arm on every fold.

    Parameters
    ----------
    arms : sequence of str, (k,)
    scores : sequence of mapping of (repeat, fold) to float, (k,)
    scope : str
        Which arms these are.
    """
    rows = [wrap_text(arm, 34) for arm in arms]
    places = sorted({place for each in scores for place in each})
    named = len(places) <= MOST_NAMED

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, place in enumerate(places):
            values = [each.get(place, np.nan) for each in scores]
            axes.plot(
                values, range(len(rows)), marker=MARKERS[i % 6], markersize=4.5, linewidth=0.9,
                linestyle=LINES[i % 6], color=COLORS[i % 6], label=_fold(place, places),
            )  # fmt: skip
        means = [np.mean(list(each.values())) for each in scores]
        axes.plot(means, range(len(rows)), "|", color=INK, markersize=13, markeredgewidth=2)
        label_rows(axes, rows)
        axes.set_xlabel("macro AUROC of a test fold")
        axes.grid(axis="x")
        if named:
            canvas.legend(loc="outside lower center", ncols=3)

    words = FigureTexts("folds", "Every fold", _described(arms, scores), _caption(scope))
    return draw_svg(words, (NARROW, 1.0 + row_height(rows)), paint)


def _fold(place: Place, places: Sequence[Place]) -> str:
    several = len({repeat for repeat, _ in places}) > 1
    return f"repeat {place[0]} fold {place[1]}" if several else f"fold {place[1]}"


def _caption(scope: str) -> str:
    return (
        f"{scope}. One line a fold, mean over the seeds; upright dash: mean of the folds. Lines "
        "that run in parallel are what pairing is worth: a fold that is hard is hard for all."
    )


def _described(arms: Sequence[str], scores: Sequence[Mapping[Place, float]]) -> str:
    parts = [
        f"{arm}: {min(each.values()):.3f} to {max(each.values()):.3f}"
        for arm, each in zip(arms, scores, strict=True)
    ]
    return "Macro AUROC on each test fold, lowest to highest. " + "; ".join(parts) + "."
