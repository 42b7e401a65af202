"""Bar chart of the shares of variance that the factors explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.analysis.anova import VarianceShare
from study.reporting.document import Figure
from study.reporting.figures.canvas import (
    COLORS,
    HATCHES,
    INK,
    NARROW,
    FigureTexts,
    draw_figure,
    label_rows,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

CAPTION = (
    "Share of the variance of the macro AUROC over arms and folds, with the fold as a block. "
    "Pooled over fractions, the fraction dominates all else, so each fraction is also shown alone."
)


def draw_variance_shares(shares: Sequence[VarianceShare]) -> Figure:
    """Draw one group of bars per fraction; the shares pooled over all fractions come first."""
    factors = list(dict.fromkeys(share.factor for share in shares))
    fractions = list(dict.fromkeys(share.fraction for share in shares))
    by_key = {(share.factor, share.fraction): share.share for share in shares}
    bar_height = 0.8 / len(fractions)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, fraction in enumerate(fractions):
            positions = [j - 0.4 + (i + 0.5) * bar_height for j in range(len(factors))]
            values = [by_key.get((factor, fraction), 0) for factor in factors]
            axes.barh(
                positions, [100 * value for value in values], bar_height, color=COLORS[i % 6],
                hatch=HATCHES[i % 6], edgecolor=INK, linewidth=0.5, label=_name_group(fraction),
            )  # fmt: skip
        label_rows(axes, factors)
        axes.set_xlabel("share of the variance of the AUROC (%)")
        axes.grid(axis="x")
        if len(fractions) > 1:
            canvas.legend(loc="outside lower center", ncols=3)

    texts = FigureTexts("shares", "Variance explained by the factors", _describe(shares), CAPTION)
    height = 1.2 + len(factors) * max(0.3, 0.14 * len(fractions))
    return draw_figure(texts, (NARROW, height), paint)


def _name_group(fraction: float | None) -> str:
    return "all fractions" if fraction is None else f"at fraction {fraction:g}"


def _describe(shares: Sequence[VarianceShare]) -> str:
    parts = [f"{s.factor} {_name_group(s.fraction)}: {100 * s.share:.1f} %" for s in shares]
    return "Shares of the variance of the macro AUROC. " + "; ".join(parts) + "."
