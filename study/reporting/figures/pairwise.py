"""Heat map of the differences between all pairs of arms (MCSim; Ash et al. 2025, JCIM 65:9398)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.analysis.influence import Floats
from study.analysis.paired import ROPE
from study.reporting.document import Figure
from study.reporting.figures.canvas import FigureTexts, choose_text_color, draw_figure, wrap_text
from study.reporting.formatting import format_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

EDGES = tuple(ROPE * step for step in (-4, -2, -1, 1, 2, 4))
"""Boundaries of the color classes; the middle one is the region of practical equivalence."""


def draw_pairwise(
    arms: Sequence[str], differences: Floats, significant: NDArray[np.bool_], scope: str
) -> Figure:
    """Draw the heat map of the differences of all pairs, row minus column.

    Parameters
    ----------
    arms : sequence of str, (k,)
    differences : ndarray of float64, (k, k)
        NaN without a difference.
    significant : ndarray of bool, (k, k)
        Whether the difference is significant.
    scope : str
        Text on which arms are shown.
    """
    rows = [wrap_text(f"{i}  {arm}", 30) for i, arm in enumerate(arms, start=1)]
    size = max(5.2, 2.2 + 0.34 * len(arms)), 1.3 + max(0.34, 0.3) * len(arms)

    def paint(canvas: Canvas) -> None:
        import matplotlib as mpl
        from matplotlib.colors import BoundaryNorm

        axes = canvas.subplots()
        colors = mpl.colormaps["cividis"]
        norm = BoundaryNorm(EDGES, colors.N, extend="both")
        image = axes.imshow(
            np.ma.masked_invalid(differences), cmap=colors, norm=norm, aspect="auto"
        )
        for i, j in np.argwhere(np.isfinite(differences)):
            red, green, blue, _ = colors(norm(differences[i, j]))
            axes.text(
                j, i, f"{1000 * differences[i, j]:+.0f}{'*' if significant[i, j] else ''}",
                ha="center", va="center", fontsize=7,
                color=choose_text_color(0.3 * red + 0.59 * green + 0.11 * blue),
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), rows, fontsize=7.5)
        axes.set_xticks(range(len(rows)), [str(i) for i in range(1, len(rows) + 1)])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = canvas.colorbar(image, ax=axes, location="bottom", shrink=0.9, aspect=40)
        bar.set_ticks(list(EDGES), labels=[f"{1000 * edge:+g}" for edge in EDGES])
        bar.set_label("AUROC, row minus column (thousandths)")

    texts = FigureTexts(
        "pairwise",
        "All pairs of arms",
        _describe(arms, differences, significant),
        _build_caption(scope),
    )
    return draw_figure(texts, size, paint)


def _build_caption(scope: str) -> str:
    return (
        f"{scope}. Numbers: AUROC of the row minus that of the column in thousandths, paired; "
        "light: the row is better. The middle color is the region of practical equivalence, below "
        f"{ROPE:g}. *: p < 0.05 after Holm over all pairs of the map; these contrasts were not "
        "declared, so treat them as exploratory."
    )


def _describe(arms: Sequence[str], differences: Floats, significant: NDArray[np.bool_]) -> str:
    upper = np.triu(np.isfinite(differences), 1)
    significant_pairs = int((significant & upper).sum())
    pairs = int(upper.sum())
    largest = float(np.nanmax(np.abs(differences))) if pairs else 0.0
    return (
        f"Heat map of the differences in macro AUROC between {len(arms)} arms: "
        f"{format_count(significant_pairs, 'pair')} of {pairs} differ at the 5 % level; the "
        f"largest difference is {largest:.4f}."
    )
