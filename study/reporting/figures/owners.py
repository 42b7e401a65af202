"""Figure of label ownership: which modality owns which label, and in how many trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from study.analysis.influence import Floats
from study.reporting.document import Figure
from study.reporting.figures.canvas import NARROW, FigureTexts, draw_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

MAX_NAMED = 40
"""Maximum number of labels whose names are readable along an axis."""


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
        Sentences on the agreement between trials.
    """

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        image = axes.imshow(
            shares, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
        )
        axes.set_yticks(range(len(modalities)), modalities)
        axes.set_yticks(np.arange(0.5, len(modalities) - 1), minor=True)
        axes.grid(axis="y", which="minor")
        axes.tick_params(which="both", axis="y", length=0)
        if len(labels) <= MAX_NAMED:
            axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
        axes.set_xlabel(f"the {len(labels)} labels, from the most to the fewest positives")
        bar = canvas.colorbar(image, ax=axes, location="bottom", aspect=40)
        bar.set_label("share of the trials in which the modality owns the label")

    caption = f"Dark: the modality owns the label in every trial. {stability}"
    texts = FigureTexts(name, title, _describe(modalities, shares, stability), caption)
    return draw_figure(
        texts, (NARROW, 1.6 + 0.4 * len(modalities) + 0.6 * (len(labels) <= MAX_NAMED)), paint
    )


def _describe(modalities: Sequence[str], shares: Floats, stability: str) -> str:
    parts = [f"{m}: {row.sum():.1f}" for m, row in zip(modalities, shares, strict=True)]
    return f"Labels that each modality owns, mean over trials: {', '.join(parts)}. {stability}"
