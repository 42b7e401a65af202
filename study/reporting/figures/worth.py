"""Shapley values of the modalities, as bars with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.analysis.shapley import ModalityWorth
from study.reporting.document import Figure
from study.reporting.figures._canvas import (
    COLORS,
    HATCHES,
    INK,
    NARROW,
    FigureTexts,
    draw_svg,
    label_rows,
    row_height,
    wrap_text,
)
from study.reporting.formatting import format_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

CAPTION = (
    "Exact Shapley values: the mean gain in macro AUROC of adding a modality over all orders, "
    "with the 95 % interval. The values of a row add up to the AUROC of the whole set minus 0.5."
)


def draw_modality_worth(found: Sequence[ModalityWorth]) -> Figure:
    """Draw one row a technique and set, one bar a modality."""
    keys = list(dict.fromkeys((each.features, each.technique) for each in found))
    modalities = list(dict.fromkeys(each.modality for each in found))
    rows = [wrap_text(f"{features}: {technique}", 32) for features, technique in keys]
    height = 0.8 / len(modalities)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, modality in enumerate(modalities):
            own = [each for each in found if each.modality == modality]
            at = np.array([keys.index((each.features, each.technique)) for each in own], float)
            values = np.array([each.value for each in own])
            ends = [[e.value - e.low for e in own], [e.high - e.value for e in own]]
            axes.barh(
                at - 0.4 + (i + 0.5) * height, values, height, xerr=np.nan_to_num(ends),
                color=COLORS[i % 6], hatch=HATCHES[i % 6], edgecolor=INK, linewidth=0.5,
                error_kw={"elinewidth": 1, "ecolor": INK}, label=modality,
            )  # fmt: skip
        label_rows(axes, rows)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("Shapley value (macro AUROC above 0.5)")
        axes.grid(axis="x")
        canvas.legend(loc="outside lower center", ncols=3)

    words = FigureTexts("worth", "What each modality is worth", _described(found), CAPTION)
    bars = len(keys) * max(0.15 * len(modalities), 0.35)
    return draw_svg(words, (NARROW, 1.2 + max(bars, row_height(rows))), paint)


def _described(found: Sequence[ModalityWorth]) -> str:
    parts = [
        f"{each.modality} in {each.features} with {each.technique}: "
        + format_interval(each.value, each.low, each.high, "+.4f")
        for each in found
    ]
    return "Shapley values. " + "; ".join(parts) + "."
