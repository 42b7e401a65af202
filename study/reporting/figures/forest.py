"""Forest plot: differences of declared contrasts with the region of practical equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from study.analysis.paired import ROPE, PairedDifference
from study.reporting.document import Figure
from study.reporting.figures.canvas import (
    BAND,
    COLORS,
    INK,
    NARROW,
    PAPER,
    SOFT,
    FigureTexts,
    compute_row_height,
    draw_figure,
    label_rows,
    wrap_text,
)
from study.reporting.formatting import format_count, format_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class ForestBar(NamedTuple):
    """Name, difference and verdict of one contrast."""

    name: str
    difference: PairedDifference
    verdict: str


def draw_forest(name: str, title: str, bars: Sequence[ForestBar]) -> Figure:
    """Draw one row per contrast; the fill of the marker shows the verdict."""
    rows = [wrap_text(bar.name, 34) for bar in bars]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.axvspan(-ROPE, ROPE, color=BAND, zorder=0)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        for row, bar in enumerate(bars):
            _draw_row(axes, row, bar)
        label_rows(axes, rows)
        axes.set_xlabel("difference in macro AUROC (arm minus reference)")
        axes.grid(axis="x")

    texts = FigureTexts(name, title, _describe(title, bars), CAPTION)
    return draw_figure(texts, (NARROW, 0.75 + compute_row_height(rows)), paint)


CAPTION = (
    "Thick: 95 % interval of the influence curve. Thin: 95 % interval of the corrected t, the "
    f"conservative bound. Band: differences below {ROPE:g}, which are practically irrelevant. "
    "Filled marker: the verdict is 'wins'; half-filled: 'suggestive'; open: all others."
)


def _draw_row(axes: Axes, row: int, bar: ForestBar) -> None:
    difference, corrected = bar.difference, bar.difference.corrected
    if not math.isnan(corrected.low):
        axes.plot([corrected.low, corrected.high], [row, row], color=SOFT, linewidth=0.8)
    axes.plot([difference.low, difference.high], [row, row], color=COLORS[0], linewidth=3)
    style = {"wins": "full", "sugg": "left"}.get(bar.verdict[:4], "none")
    axes.plot(
        difference.estimate, row, marker="o", markersize=6, fillstyle=style, color=INK,
        markerfacecoloralt=PAPER, markeredgecolor=INK,
    )  # fmt: skip


def _describe(title: str, bars: Sequence[ForestBar]) -> str:
    parts = []
    for bar in bars:
        difference = bar.difference
        interval = format_interval(difference.estimate, difference.low, difference.high, "+.4f")
        parts.append(f"{bar.name}: {interval}, {bar.verdict}")
    return f"{title}: {format_count(len(bars), 'contrast')}. " + ". ".join(parts) + "."
