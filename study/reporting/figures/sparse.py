"""Figure of the gain by label density, with the range that seeds alone produce."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from study.analysis.sparse_gain import SparseGain
from study.reporting.document import Figure
from study.reporting.figures.canvas import (
    BAND,
    COLORS,
    INK,
    NARROW,
    SOFT,
    FigureTexts,
    draw_figure,
    set_log_axis,
)
from study.reporting.formatting import format_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MAX_NAMED = 6
"""Number of labels, those with the largest |gain / standard error|, that are named."""


def draw_sparse_gain(name: str, title: str, gain: SparseGain) -> Figure:
    """Draw the gain of every label against its positives, and the mean gains of the fifths."""

    def paint(canvas: Canvas) -> None:
        upper, lower = canvas.subplots(2, 1, height_ratios=[1.6, 1])
        _draw_labels(upper, gain)
        _draw_fifths(lower, gain)

    texts = FigureTexts(name, title, _describe(title, gain), _build_caption(gain))
    return draw_figure(texts, (NARROW, 5.6), paint)


def _draw_labels(axes: Axes, gain: SparseGain) -> None:
    x = np.array([label.positives for label in gain.labels], dtype=float)
    y = np.array([label.gain for label in gain.labels])
    se = np.array([label.se for label in gain.labels])
    low = y - np.array([label.low for label in gain.labels])
    high = np.array([label.high for label in gain.labels]) - y
    axes.errorbar(x, y, [low, high], fmt="none", ecolor=SOFT, elinewidth=0.5, alpha=0.7)
    axes.plot(x, y, "o", markersize=3.5, color=COLORS[0], label="a label, 95 % interval")
    _draw_band(axes, gain)
    _draw_means(axes, gain)
    _draw_trend(axes, gain, x, y, se)
    axes.axhline(0, color=INK, linewidth=0.8)
    for i in np.argsort(-np.abs(np.divide(y, se, out=np.zeros_like(y), where=se > 0)))[:MAX_NAMED]:
        axes.annotate(gain.labels[i].name, (x[i], y[i]), (3, 3), textcoords="offset points", size=7)
    set_log_axis(axes, list(x))
    axes.set_xlabel("positives of the label in the whole table (logarithmic)")
    axes.set_ylabel("gain in AUROC")
    axes.legend(loc="best", fontsize=7)


def _list_ends(gain: SparseGain) -> list[tuple[float, float]]:
    return [(fifth.fewest * 0.99, fifth.most * 1.01) for fifth in gain.fifths]


def _draw_band(axes: Axes, gain: SparseGain) -> None:
    """Draw the range of the mean gains of the fifths between two seeds of the reference."""
    if gain.null is None:
        return
    ends = zip(_list_ends(gain), gain.null.fifth_low, gain.null.fifth_high, strict=True)
    for i, ((fewest, most), low, high) in enumerate(ends):
        label = "fifth means, seeds alone (95 %)" if i == 0 else None
        axes.fill_between([fewest, most], low, high, color=SOFT, alpha=0.35, lw=0, label=label)


def _draw_means(axes: Axes, gain: SparseGain) -> None:
    for i, (fifth, (fewest, most)) in enumerate(zip(gain.fifths, _list_ends(gain), strict=True)):
        gained = fifth.difference
        axes.errorbar(
            math.sqrt(fewest * most), gained.estimate,
            [[gained.estimate - gained.low], [gained.high - gained.estimate]],
            fmt="s", color=COLORS[1], markersize=6, elinewidth=2, capsize=3,
            label="mean of a fifth" if i == 0 else None,
        )  # fmt: skip


def _draw_trend(axes: Axes, gain: SparseGain, x: np.ndarray, y: np.ndarray, se: np.ndarray) -> None:
    """Draw the trend as a line through the weighted mean of the labels."""
    used = np.isfinite(se) & (se > 0) & np.isfinite(y)
    if math.isnan(gain.slope.estimate) or not used.any():
        return
    weights = 1 / se[used] ** 2
    mean_x = np.average(np.log2(x[used]), weights=weights)
    mean_y = np.average(y[used], weights=weights)
    ends = np.array([x.min(), x.max()])
    line = mean_y + gain.slope.estimate * (np.log2(ends) - mean_x)
    axes.plot(ends, line, "--", color=INK, linewidth=1, label="trend")


def _draw_fifths(axes: Axes, gain: SparseGain) -> None:
    positions = np.arange(len(gain.fifths))
    shift, width = (0.2, 0.36) if gain.oracle else (0.0, 0.5)
    values = [fifth.difference for fifth in gain.fifths]
    ends = [[v.estimate - v.low for v in values], [v.high - v.estimate for v in values]]
    axes.bar(
        positions - shift, [v.estimate for v in values], width, yerr=ends, color=COLORS[1],
        edgecolor=INK, linewidth=0.6, error_kw={"elinewidth": 1}, label="gain, 95 % interval",
    )  # fmt: skip
    if gain.oracle:
        axes.bar(
            positions + 0.2, gain.oracle, 0.36, color="none", edgecolor=INK, hatch="////",
            linewidth=0.6, label="out of nothing: best of two seeds on the test folds",
        )  # fmt: skip
    if gain.null is not None:
        low, high = np.array(gain.null.fifth_low), np.array(gain.null.fifth_high)
        axes.bar(
            positions,
            high - low,
            0.86,
            bottom=low,
            color=BAND,
            zorder=0,
            label="seeds alone (95 %)",
        )
    axes.axhline(0, color=INK, linewidth=0.8)
    names = [f"{fifth.fewest}-{fifth.most}" for fifth in gain.fifths]
    axes.set_xticks(positions, names)
    axes.set_xlabel("positives of the labels of a fifth, densest first")
    axes.set_ylabel("mean gain in AUROC")
    top, bottom = axes.get_ylim()[1], axes.get_ylim()[0]
    axes.set_ylim(bottom, top + 0.45 * (top - bottom))
    axes.legend(loc="upper left", fontsize=7)


def _build_caption(gain: SparseGain) -> str:
    text = (
        "Above: gain of every label, squares the means of the density fifths, both with 95 % "
        "intervals from the test molecules and the seeds; dashed: trend weighted by 1 / SE^2. "
        "Below: the same means. "
    )
    if gain.null is None:
        return text + (
            "The range that seeds alone produce is unknown: the reference was trained with one "
            "seed."
        )
    return text + (
        "Gray: 95 % range of the gain of the reference over itself under other seeds. Hatched: "
        "spurious gain of giving each label to the better of two seeds on the test folds, where "
        "nothing was learned."
    )


def _describe(title: str, gain: SparseGain) -> str:
    parts = [
        f"labels with {fifth.fewest} to {fifth.most} positives: "
        + format_interval(
            fifth.difference.estimate, fifth.difference.low, fifth.difference.high, "+.4f"
        )
        for fifth in gain.fifths
    ]
    slope = format_interval(gain.slope.estimate, gain.slope.low, gain.slope.high, "+.4f")
    return f"{title}. Mean gain in AUROC, {'; '.join(parts)}. Slope per doubling: {slope}."
