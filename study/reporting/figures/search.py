"""Figure of the expected best validation value by number of configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.analysis.search_sensitivity import ArmSearch
from study.reporting.document import Figure
from study.reporting.figures.canvas import COLORS, LINES, MARKERS, NARROW, FigureTexts, draw_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MAX_TOGETHER = len(COLORS)
"""Maximum number of arms in one figure."""
CAPTION = (
    "Expected best validation value by number of configurations, mean over the trials of an arm; "
    "at 1 the arm has its own hyperparameters. Curves that still rise at the right end need a "
    "larger budget; where curves cross, the budget decides which arm is ahead. Validation values "
    "serve for selection only: compare arms on the test folds."
)


def draw_search(
    name: str, title: str, value: str, arms: Sequence[ArmSearch], labels: Sequence[str]
) -> Figure:
    """Draw the curves of up to six arms; `value` is the axis label of the validation value."""

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, (arm, label) in enumerate(zip(arms, labels, strict=True)):
            _draw_curve(axes, i, arm, label)
        ticks = list_doublings(max(len(arm.curve) for arm in arms))
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("configurations (logarithmic)")
        axes.set_ylabel(value)
        axes.grid()
        canvas.legend(loc="outside lower center", ncols=1)

    texts = FigureTexts(name, title, _describe(title, value, arms, labels), CAPTION)
    return draw_figure(texts, (NARROW, 3.2 + 0.2 * len(arms)), paint)


def _draw_curve(axes: Axes, i: int, arm: ArmSearch, label: str) -> None:
    budget = np.arange(1, len(arm.curve) + 1)
    marked = [n - 1 for n in list_doublings(len(arm.curve))]
    axes.plot(
        budget, arm.curve, marker=MARKERS[i % 6], markevery=marked, linestyle=LINES[i % 6],
        color=COLORS[i % 6], markersize=4.5, label=label,
    )  # fmt: skip


def list_doublings(budget: int) -> list[int]:
    """Return the powers of two below a budget, and the budget."""
    powers = [2**k for k in range(budget.bit_length()) if 2**k < budget]
    return [*powers, budget]


def _describe(title: str, value: str, arms: Sequence[ArmSearch], labels: Sequence[str]) -> str:
    parts = [
        f"{label}: from {arm.curve[0]:.4f} with its own hyperparameters to {arm.curve[-1]:.4f} "
        f"with {len(arm.curve)} configurations"
        for arm, label in zip(arms, labels, strict=True)
        if np.isfinite(arm.curve[[0, -1]]).all()
    ]
    return f"{title}: {value} by the number of configurations. " + "; ".join(parts) + "."
