"""Figure of learned embeddings with contours of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from study.analysis.embedding_map import EmbeddingMap, compute_view
from study.reporting.document import Figure
from study.reporting.figures.canvas import (
    COLORS,
    LINES,
    NARROW,
    SOFT,
    FigureTexts,
    draw_figure,
)
from study.reporting.formatting import format_count, format_list

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def draw_embedding_map(name: str, title: str, embedding_map: EmbeddingMap) -> Figure:
    """Draw molecules as dots, and for each label the region with half of its molecules."""
    from matplotlib.lines import Line2D

    handles = []

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.plot(
            *embedding_map.points.T, ".", color=SOFT, markersize=2, alpha=0.5, rasterized=True
        )
        for i, region in enumerate(embedding_map.regions):
            color, line = COLORS[i % 6], LINES[i % 6]
            axes.contour(
                region.x, region.y, region.density, levels=[region.half], colors=[color],
                linestyles=[line], linewidths=1.8,
            )  # fmt: skip
            label = f"{region.label} ({region.molecules})"
            handles.append(Line2D([], [], color=color, linestyle=line, label=label))
        (left, bottom), (right, top) = compute_view(embedding_map.points)
        axes.set(xlim=(left, right), ylim=(bottom, top))
        axes.set_xlabel(embedding_map.axes[0])
        axes.set_ylabel(embedding_map.axes[1])
        canvas.legend(handles=handles, loc="outside lower center", ncols=2)

    texts = FigureTexts(name, title, _describe(title, embedding_map), _build_caption(embedding_map))
    return draw_figure(texts, (NARROW, 4.6), paint)


def _build_caption(embedding_map: EmbeddingMap) -> str:
    return (
        f"{embedding_map.note} Dots: {format_count(len(embedding_map.points), 'molecule')}, "
        "except for outliers. "
        "Contours: the smallest region with half of the molecules of a label (Gaussian kernel); "
        "in brackets the number of molecules. The labels are those with the most positives in the "
        "data set, not the ones that look best."
    )


def _describe(title: str, embedding_map: EmbeddingMap) -> str:
    centers = [
        f"{r.label} around ({r.center[0]:+.2f}, {r.center[1]:+.2f})" for r in embedding_map.regions
    ]
    spread = np.ptp(embedding_map.points, axis=0)
    return (
        f"{title}: {format_count(len(embedding_map.points), 'molecule')} on two axes of width "
        f"{spread[0]:.2f} and {spread[1]:.2f}; {format_list(centers)}."
    )
