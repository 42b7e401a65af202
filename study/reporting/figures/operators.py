"""Heat map of AUROC by set of modalities and by technique or operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.analysis.influence import Floats
from study.reporting.document import Figure
from study.reporting.figures.canvas import (
    NARROW,
    FigureTexts,
    choose_text_color,
    draw_figure,
    wrap_text,
)
from study.reporting.formatting import format_list

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

CAPTION = (
    "Macro AUROC, and below it in thousandths the difference to the best single modality of the "
    "set, if each of them has an arm. The best one is chosen on the same test folds, so the "
    "difference is, if anything, too small. Light: higher. Empty: no arm."
)


def draw_operators(
    sets: Sequence[str], heads: Sequence[str], levels: Floats, gains: Floats, scope: str
) -> Figure:
    """Draw a heat map with one column per set of modalities and one row per technique.

    Parameters
    ----------
    sets : sequence of str, (c,)
    heads : sequence of str, (r,)
    levels, gains : ndarray of float64, (r, c)
        Macro AUROC, and its difference to the best single modality; NaN without an arm.
    scope : str
    """
    rows, columns = [wrap_text(h, 22) for h in heads], [s.replace(" + ", " +\n") for s in sets]

    def paint(canvas: Canvas) -> None:
        import matplotlib as mpl

        axes = canvas.subplots()
        colors = mpl.colormaps["cividis"]
        image = axes.imshow(np.ma.masked_invalid(levels), cmap=colors, aspect="auto")
        for i, j in np.argwhere(np.isfinite(levels)):
            red, green, blue, _ = colors(image.norm(levels[i, j]))
            gain = "" if np.isnan(gains[i, j]) else f"\n{1000 * gains[i, j]:+.0f}"
            shade = choose_text_color(0.3 * red + 0.59 * green + 0.11 * blue)
            axes.text(j, i, f"{levels[i, j]:.3f}{gain}", ha="center", va="center", color=shade)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xticks(range(len(columns)), columns, fontsize=7.5)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        canvas.colorbar(image, ax=axes, location="bottom", aspect=40).set_label("macro AUROC")

    texts = FigureTexts(
        "operators", "Technique by set of modalities", _describe(sets, heads, levels),
        f"{scope}. {CAPTION}",
    )  # fmt: skip
    lines = max(column.count("\n") for column in columns) + 1
    size = max(NARROW, 1.9 + 0.72 * len(columns)), 1.3 + 0.14 * lines + 0.46 * len(rows)
    return draw_figure(texts, size, paint)


def _describe(sets: Sequence[str], heads: Sequence[str], levels: Floats) -> str:
    parts = []
    for i, head in enumerate(heads):
        arms = [f"{s} {v:.4f}" for s, v in zip(sets, levels[i], strict=True) if np.isfinite(v)]
        parts.append(f"{head}: {format_list(arms)}")
    return "Macro AUROC. " + "; ".join(parts) + "."
