"""Forest plot: differences of declared contrasts with the region of practical equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from study.analysis.paired import ROPE, PairedDifference
from study.reporting.document import Figure
from study.reporting.figures._canvas import (
    BAND,
    COLORS,
    INK,
    NARROW,
    PAPER,
    SOFT,
    FigureTexts,
    draw_svg,
    label_rows,
    row_height,
    wrap_text,
)
from study.reporting.formatting import format_count, format_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class ForestBar(NamedTuple):
    """One contrast: its name, its difference, what one may say of it."""

    name: str
    difference: PairedDifference
    verdict: str


def draw_forest(name: str, title: str, bars: Sequence[ForestBar]) -> Figure:
    """Draw one row a contrast; filled where the verdict is ``wins``, open where it is not."""
    rows = [wrap_text(bar.name, 34) for bar in bars]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.axvspan(-ROPE, ROPE, color=BAND, zorder=0)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        for row, bar in enumerate(bars):
            _row(axes, row, bar)
        label_rows(axes, rows)
        axes.set_xlabel("difference in macro AUROC (arm minus reference)")
        axes.grid(axis="x")

    words = FigureTexts(name, title, _described(title, bars), CAPTION)
    return draw_svg(words, (NARROW, 0.75 + row_height(rows)), paint)


CAPTION = (
    "Thick: 95 % interval of the influence curve. Thin: 95 % interval of the corrected t, the "
    f"conservative bound. Band: differences below {ROPE:g}, which nobody should care about. "
    "Filled marker: the verdict is 'wins'; half-filled: 'suggestive'; open: all others."
)


def _row(axes: Axes, row: int, bar: ForestBar) -> None:
    found, corrected = bar.difference, bar.difference.corrected
    if not math.isnan(corrected.low):
        axes.plot([corrected.low, corrected.high], [row, row], color=SOFT, linewidth=0.8)
    axes.plot([found.low, found.high], [row, row], color=COLORS[0], linewidth=3)
    style = {"wins": "full", "sugg": "left"}.get(bar.verdict[:4], "none")
    axes.plot(
        found.estimate, row, marker="o", markersize=6, fillstyle=style, color=INK,
        markerfacecoloralt=PAPER, markeredgecolor=INK,
    )  # fmt: skip


def _described(title: str, bars: Sequence[ForestBar]) -> str:
    parts = [
        f"{bar.name}: {format_interval(bar.difference.estimate, bar.difference.low, bar.difference.high, '+.4f')}, "  # noqa: E501 (one sentence)
        f"{bar.verdict}"
        for bar in bars
    ]
    return f"{title}: {format_count(len(bars), 'contrast')}. " + ". ".join(parts) + "."
