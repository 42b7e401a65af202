"""Forest plot: differences of declared contrasts with the region of practical equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from study.analysis.paired import ROPE, Difference
from study.reporting.document import Figure
from study.reporting.figures._canvas import (
    BAND,
    COLORS,
    INK,
    NARROW,
    PAPER,
    SOFT,
    Words,
    draw,
    names_down,
    row_height,
    wrapped,
)
from study.reporting.formatting import counted, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class Bar(NamedTuple):
    """One contrast: its name, its difference, what one may say of it."""

    name: str
    difference: Difference
    verdict: str


def forest(name: str, title: str, bars: Sequence[Bar]) -> Figure:
    """Draw one row a contrast; filled where the verdict is ``wins``, open where it is not."""
    rows = [wrapped(bar.name, 34) for bar in bars]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.axvspan(-ROPE, ROPE, color=BAND, zorder=0)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        for row, bar in enumerate(bars):
            _row(axes, row, bar)
        names_down(axes, rows)
        axes.set_xlabel("difference in macro AUROC (arm minus reference)")
        axes.grid(axis="x")

    words = Words(name, title, _described(title, bars), CAPTION)
    return draw(words, (NARROW, 0.75 + row_height(rows)), paint)


CAPTION = (
    "Thick: 95 % interval of the influence curve. Thin: 95 % interval of the corrected t, the "
    f"conservative bound. Band: differences below {ROPE:g}, which nobody should care about. "
    "Filled marker: the verdict is 'wins'; half-filled: 'suggestive'; open: all others."
)


def _row(axes: Axes, row: int, bar: Bar) -> None:
    found, corrected = bar.difference, bar.difference.corrected
    if not math.isnan(corrected.low):
        axes.plot([corrected.low, corrected.high], [row, row], color=SOFT, linewidth=0.8)
    axes.plot([found.low, found.high], [row, row], color=COLORS[0], linewidth=3)
    style = {"wins": "full", "sugg": "left"}.get(bar.verdict[:4], "none")
    axes.plot(
        found.estimate, row, marker="o", markersize=6, fillstyle=style, color=INK,
        markerfacecoloralt=PAPER, markeredgecolor=INK,
    )  # fmt: skip


def _described(title: str, bars: Sequence[Bar]) -> str:
    parts = [
        f"{bar.name}: {with_interval(bar.difference.estimate, bar.difference.low, bar.difference.high, '+.4f')}, "  # noqa: E501 (one sentence)
        f"{bar.verdict}"
        for bar in bars
    ]
    return f"{title}: {counted(len(bars), 'contrast')}. " + ". ".join(parts) + "."
