"""AUROC against what an arm costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from study.reporting.document import Figure
from study.reporting.figures._canvas import COLORS, MARKERS, NARROW, FigureTexts, draw_svg, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MOST_NUMBERS = 30
"""Most arms whose numbers are written beside them."""


class ArmCost(NamedTuple):
    """An arm: its number in the table, technique, AUROC with interval, seconds and parameters."""

    number: int
    technique: str
    auroc: float
    low: float
    high: float
    seconds: float
    parameters: float


def draw_cost(arms: Sequence[ArmCost], scope: str) -> Figure:
    """Draw AUROC against seconds of a fit, and against trained weights."""

    def paint(canvas: Canvas) -> None:
        upper, lower = canvas.subplots(2, 1, sharey=True)
        _against(upper, arms, [arm.seconds for arm in arms], "seconds of a fit (logarithmic)")
        weights = [arm.parameters for arm in arms]
        _against(lower, arms, weights, "trained weights of the head (logarithmic)")
        handles, names = upper.get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower center", ncols=2)

    caption = (
        f"{scope}. Numbers: rows of the table below. Bars: 95 % interval of the corrected t. "
        "Encoders that were made ready before the fits are not in these seconds and weights."
    )
    words = FigureTexts("cost", "AUROC against cost", _described(arms), caption)
    return draw_svg(words, (NARROW, 5.4), paint)


def _against(axes: Axes, arms: Sequence[ArmCost], costs: Sequence[float], name: str) -> None:
    for i, technique in enumerate(dict.fromkeys(arm.technique for arm in arms)):
        own = [j for j, arm in enumerate(arms) if arm.technique == technique and costs[j] > 0]
        values = np.array([arms[j].auroc for j in own])
        ends = [values - [arms[j].low for j in own], [arms[j].high for j in own] - values]
        axes.errorbar(
            [costs[j] for j in own], values, np.nan_to_num(ends), fmt=MARKERS[i % 6],
            color=COLORS[i % 6], markersize=5, elinewidth=0.6, alpha=0.9, label=technique,
        )  # fmt: skip
    for arm, each in zip(arms, costs, strict=True):
        if each > 0 and len(arms) <= MOST_NUMBERS:
            at = (each, arm.auroc)
            axes.annotate(f"{arm.number}", at, (4, 3), textcoords="offset points", fontsize=7)
    log_axis(axes, costs)
    axes.set_xlabel(name)
    axes.set_ylabel("macro AUROC")
    axes.grid()


def _described(arms: Sequence[ArmCost]) -> str:
    parts = [
        f"arm {arm.number}, {arm.technique}: {arm.auroc:.4f} in {arm.seconds:.1f} seconds with "
        f"{arm.parameters:,.0f} weights"
        for arm in arms
    ]
    return "Macro AUROC against cost. " + "; ".join(parts) + "."
