"""Which modality owns which label, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.analysis.influence import Floats
from study.reporting.document import Figure
from study.reporting.figures._canvas import NARROW, FigureTexts, draw_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NAMED = 40
"""Most labels whose names can be read along an axis."""


def draw_label_owners(
    name: str, title: str, modalities: Sequence[str], labels: Sequence[str], shares: Floats,
    stability: str,
) -> Figure:  # fmt: skip
    """Draw the share of trials in which each modality owns each label.

    Parameters
    ----------
    name, title : str
    modalities : sequence of str, (k,)
    labels : sequence of str, (l,)
        Densest first.
    shares : ndarray of float64, (k, l)
    stability : str
        Sentence on the agreement between trials.
    """

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        shown = axes.imshow(
            shares, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
        )
        axes.set_yticks(range(len(modalities)), modalities)
        axes.set_yticks(np.arange(0.5, len(modalities) - 1), minor=True)
        axes.grid(axis="y", which="minor")
        axes.tick_params(which="both", axis="y", length=0)
        if len(labels) <= NAMED:
            axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
        axes.set_xlabel(f"the {len(labels)} labels, from the most to the fewest positives")
        bar = canvas.colorbar(shown, ax=axes, location="bottom", aspect=40)
        bar.set_label("share of the trials in which the modality owns the label")

    caption = f"Dark: the modality owns the label in every trial. {stability}"
    words = FigureTexts(name, title, _described(modalities, shares, stability), caption)
    return draw_svg(
        words, (NARROW, 1.6 + 0.4 * len(modalities) + 0.6 * (len(labels) <= NAMED)), paint
    )


def _described(modalities: Sequence[str], shares: Floats, stability: str) -> str:
    parts = [f"{m}: {row.sum():.1f}" for m, row in zip(modalities, shares, strict=True)]
    return f"Labels that each modality owns, mean over trials: {', '.join(parts)}. {stability}"
