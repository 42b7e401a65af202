"""What the factors of a grid explain, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.analysis.anova import VarianceShare
from study.reporting.document import Figure
from study.reporting.figures._canvas import (
    COLORS,
    HATCHES,
    INK,
    NARROW,
    FigureTexts,
    draw_svg,
    label_rows,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

CAPTION = (
    "Share of the variance of the macro AUROC over arms and folds, once the fold is absorbed as a "
    "block. The fraction dwarfs all else where it is pooled, so each fraction is also taken alone."
)


def draw_variance_shares(found: Sequence[VarianceShare]) -> Figure:
    """Draw one group of bars a fraction; pooled over the fractions first."""
    factors = list(dict.fromkeys(share.factor for share in found))
    groups = list(dict.fromkeys(share.fraction for share in found))
    by_place = {(share.factor, share.fraction): share for share in found}
    height = 0.8 / len(groups)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for i, group in enumerate(groups):
            places = [j - 0.4 + (i + 0.5) * height for j in range(len(factors))]
            values = [by_place[f, group].share if (f, group) in by_place else 0 for f in factors]
            axes.barh(
                places, [100 * value for value in values], height, color=COLORS[i % 6],
                hatch=HATCHES[i % 6], edgecolor=INK, linewidth=0.5, label=_group(group),
            )  # fmt: skip
        label_rows(axes, factors)
        axes.set_xlabel("share of the variance of the AUROC (%)")
        axes.grid(axis="x")
        if len(groups) > 1:
            canvas.legend(loc="outside lower center", ncols=3)

    words = FigureTexts("shares", "What the factors explain", _described(found), CAPTION)
    return draw_svg(words, (NARROW, 1.2 + len(factors) * max(0.3, 0.14 * len(groups))), paint)


def _group(fraction: float | None) -> str:
    return "all fractions" if fraction is None else f"at fraction {fraction:g}"


def _described(found: Sequence[VarianceShare]) -> str:
    parts = [f"{s.factor} {_group(s.fraction)}: {100 * s.share:.1f} %" for s in found]
    return "Shares of the variance of the macro AUROC. " + "; ".join(parts) + "."
