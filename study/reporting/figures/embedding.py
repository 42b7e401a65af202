"""Map of learned embeddings with contours of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from study.analysis.embedding_map import EmbeddingMap, view_embeddings
from study.reporting.document import Figure
from study.reporting.figures._canvas import (
    COLORS,
    LINES,
    NARROW,
    SOFT,
    FigureTexts,
    draw_svg,
)
from study.reporting.formatting import format_count, format_list

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def draw_embedding_map(name: str, title: str, found: EmbeddingMap) -> Figure:
    """Draw molecules as dots, and for each label the region that holds half of its molecules."""
    from matplotlib.lines import Line2D

    marks = []

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.plot(*found.points.T, ".", color=SOFT, markersize=2, alpha=0.5, rasterized=True)
        for i, region in enumerate(found.regions):
            color, line = COLORS[i % 6], LINES[i % 6]
            axes.contour(
                region.x, region.y, region.density, levels=[region.half], colors=[color],
                linestyles=[line], linewidths=1.8,
            )  # fmt: skip
            word = f"{region.label} ({region.molecules})"
            marks.append(Line2D([], [], color=color, linestyle=line, label=word))
        (left, bottom), (right, top) = view_embeddings(found.points)
        axes.set(xlim=(left, right), ylim=(bottom, top))
        axes.set_xlabel(found.axes[0])
        axes.set_ylabel(found.axes[1])
        canvas.legend(handles=marks, loc="outside lower center", ncols=2)

    words = FigureTexts(name, title, _described(title, found), _caption(found))
    return draw_svg(words, (NARROW, 4.6), paint)


def _caption(found: EmbeddingMap) -> str:
    return (
        f"{found.note} Dots: {format_count(len(found.points), 'molecule')}, less those far out. "
        "Contours: the smallest region that holds half of the molecules of a label (Gaussian "
        "kernel); in brackets their number. The labels are those with the most positives in the "
        "table, not the ones that "
        "look best."
    )


def _described(title: str, found: EmbeddingMap) -> str:
    centers = [f"{r.label} around ({r.center[0]:+.2f}, {r.center[1]:+.2f})" for r in found.regions]
    spread = np.ptp(found.points, axis=0)
    return (
        f"{title}: {format_count(len(found.points), 'molecule')} on two axes of width "
        f"{spread[0]:.2f} "
        f"and {spread[1]:.2f}; {format_list(centers)}."
    )
