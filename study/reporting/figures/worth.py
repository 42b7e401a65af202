"""Bar chart of the Shapley values of the modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.analysis.shapley import ModalityWorth
from study.reporting.document import Figure
from study.reporting.figures.canvas import (
    COLORS,
    HATCHES,
    INK,
    NARROW,
    FigureTexts,
    compute_row_height,
    draw_figure,
    label_rows,
    wrap_text,
)
from study.reporting.formatting import format_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

CAPTION = (
    "Exact Shapley values: the mean gain in macro AUROC of adding a modality over all orders, "
    "with the 95 % interval. The values of a row add up to the AUROC of the whole set minus 0.5."
)


def draw_modality_worth(worths: Sequence[ModalityWorth]) -> Figure:
    """Draw one row per set and technique, with one bar per modality."""
    keys = list(dict.fromkeys((w.features, w.technique) for w in worths))
    modalities = list(dict.fromkeys(w.modality for w in worths))
    rows = [wrap_text(f"{features}: {technique}", 32) for features, technique in keys]
    height = 0.8 / len(modalities)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, modality in enumerate(modalities):
            chosen = [w for w in worths if w.modality == modality]
            positions = np.array([keys.index((w.features, w.technique)) for w in chosen], float)
            values = np.array([w.value for w in chosen])
            ends = [[w.value - w.low for w in chosen], [w.high - w.value for w in chosen]]
            axes.barh(
                positions - 0.4 + (i + 0.5) * height, values, height, xerr=np.nan_to_num(ends),
                color=COLORS[i % 6], hatch=HATCHES[i % 6], edgecolor=INK, linewidth=0.5,
                error_kw={"elinewidth": 1, "ecolor": INK}, label=modality,
            )  # fmt: skip
        label_rows(axes, rows)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("Shapley value (macro AUROC above 0.5)")
        axes.grid(axis="x")
        canvas.legend(loc="outside lower center", ncols=3)

    texts = FigureTexts("worth", "What each modality is worth", _describe(worths), CAPTION)
    bars = len(keys) * max(0.15 * len(modalities), 0.35)
    return draw_figure(texts, (NARROW, 1.2 + max(bars, compute_row_height(rows))), paint)


def _describe(worths: Sequence[ModalityWorth]) -> str:
    parts = [
        f"{w.modality} in {w.features} with {w.technique}: "
        + format_interval(w.value, w.low, w.high, "+.4f")
        for w in worths
    ]
    return "Shapley values. " + "; ".join(parts) + "."
