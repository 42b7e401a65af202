"""Figure of learning curves with intervals and fitted power laws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.analysis.learning_curves import LearningCurve
from study.reporting.document import Figure
from study.reporting.figures.canvas import (
    COLORS,
    LINES,
    MARKERS,
    NARROW,
    FigureTexts,
    draw_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MAX_TOGETHER = len(COLORS)
"""Maximum number of curves in one figure."""
CAPTION = (
    "Macro AUROC on the same test folds; band: 95 % interval of the corrected t; training "
    "fractions are nested and stratified by label. Thin: power law fitted to the error, dotted "
    "beyond the measured range."
)


def draw_learning_curves(
    name: str, title: str, curves: Sequence[LearningCurve], labels: Sequence[str]
) -> Figure:
    """Draw up to six learning curves."""

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, (curve, label) in enumerate(zip(curves, labels, strict=True)):
            _draw_curve(axes, i, curve, label)
        axes.set_xscale("log")
        ticks = sorted({round(n) for curve in curves for n in curve.molecules})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xticks([], minor=True)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, 1))
        axes.set_xlabel("training molecules (logarithmic)")
        axes.set_ylabel("macro AUROC")
        axes.grid()
        canvas.legend(loc="outside lower center", ncols=1)

    texts = FigureTexts(name, title, _describe(title, curves, labels), CAPTION)
    return draw_figure(texts, (NARROW, 3.2 + 0.2 * len(curves)), paint)


def _draw_curve(axes: Axes, i: int, curve: LearningCurve, label: str) -> None:
    x, y = np.array(curve.molecules), np.array(curve.auroc)
    low, high = np.array(curve.low), np.array(curve.high)
    color = COLORS[i % len(COLORS)]
    if np.isfinite(low).all():
        axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
    axes.plot(
        x, y, marker=MARKERS[i % 6], linestyle=LINES[i % 6], color=color, markersize=4.5,
        label=label + ("" if curve.monotone else " (not monotone)"),
    )  # fmt: skip
    if curve.two is not None:
        beyond = np.geomspace(x[-1], 1.6 * x[-1], 12)
        axes.plot(beyond, 1 - curve.two.error(beyond), ":", color=color, linewidth=0.9)
        within = np.geomspace(x[0], x[-1], 40)
        axes.plot(within, 1 - curve.two.error(within), "-", color=color, linewidth=0.5)


def _describe(title: str, curves: Sequence[LearningCurve], labels: Sequence[str]) -> str:
    parts = [
        f"{label}: from {curve.auroc[0]:.3f} with {curve.molecules[0]:,.0f} molecules to "
        f"{curve.auroc[-1]:.3f} with {curve.molecules[-1]:,.0f}"
        for curve, label in zip(curves, labels, strict=True)
    ]
    return f"{title}: learning curves. " + "; ".join(parts) + "."
