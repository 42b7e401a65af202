"""Figure of AUROC against the cost of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from study.reporting.document import Figure
from study.reporting.figures.canvas import (
    COLORS,
    MARKERS,
    NARROW,
    FigureTexts,
    draw_figure,
    set_log_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MAX_NUMBERS = 30
"""Maximum number of arms that are labeled with their numbers."""


class ArmCost(NamedTuple):
    """Number in the table, technique, AUROC with interval, seconds and parameters of an arm."""

    number: int
    technique: str
    auroc: float
    low: float
    high: float
    seconds: float
    parameters: float


def draw_cost(arms: Sequence[ArmCost], scope: str) -> Figure:
    """Draw AUROC against the seconds of a fit and against the number of trained weights."""

    def paint(canvas: Canvas) -> None:
        upper, lower = canvas.subplots(2, 1, sharey=True)
        _draw_against(upper, arms, [arm.seconds for arm in arms], "seconds of a fit (logarithmic)")
        weights = [arm.parameters for arm in arms]
        _draw_against(lower, arms, weights, "trained weights of the head (logarithmic)")
        handles, names = upper.get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower center", ncols=2)

    caption = (
        f"{scope}. Numbers: rows of the table below. Bars: 95 % interval of the corrected t. "
        "Encoder jobs are not included in these seconds and weights."
    )
    texts = FigureTexts("cost", "AUROC against cost", _describe(arms), caption)
    return draw_figure(texts, (NARROW, 5.4), paint)


def _draw_against(axes: Axes, arms: Sequence[ArmCost], costs: Sequence[float], name: str) -> None:
    for i, technique in enumerate(dict.fromkeys(arm.technique for arm in arms)):
        chosen = [j for j, arm in enumerate(arms) if arm.technique == technique and costs[j] > 0]
        values = np.array([arms[j].auroc for j in chosen])
        ends = [values - [arms[j].low for j in chosen], [arms[j].high for j in chosen] - values]
        axes.errorbar(
            [costs[j] for j in chosen], values, np.nan_to_num(ends), fmt=MARKERS[i % 6],
            color=COLORS[i % 6], markersize=5, elinewidth=0.6, alpha=0.9, label=technique,
        )  # fmt: skip
    for arm, cost in zip(arms, costs, strict=True):
        if cost > 0 and len(arms) <= MAX_NUMBERS:
            point = (cost, arm.auroc)
            axes.annotate(f"{arm.number}", point, (4, 3), textcoords="offset points", fontsize=7)
    set_log_axis(axes, costs)
    axes.set_xlabel(name)
    axes.set_ylabel("macro AUROC")
    axes.grid()


def _describe(arms: Sequence[ArmCost]) -> str:
    parts = [
        f"arm {arm.number}, {arm.technique}: {arm.auroc:.4f} in {arm.seconds:.1f} seconds with "
        f"{arm.parameters:,.0f} weights"
        for arm in arms
    ]
    return "Macro AUROC against cost. " + "; ".join(parts) + "."
