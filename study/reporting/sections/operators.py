"""Heat map of techniques and operators by set of modalities."""

from __future__ import annotations

import numpy as np

from study.planning.trials import Arm
from study.reporting.context import ReportContext, format_features
from study.reporting.document import DocumentSection, Prose
from study.reporting.figures.operators import draw_operators

MOST = 12
"""Columns and rows of a map that can be read."""


def section(material: ReportContext) -> DocumentSection | None:
    """Draw the map of the arms with several modalities at the largest fraction."""
    cells = [cell for cell in material.full if len(cell.features) > 1]
    heads = list(dict.fromkeys(_head(material, cell) for cell in cells))[:MOST]
    sets = list(dict.fromkeys(format_features(cell) for cell in cells))[:MOST]
    if not cells:
        return None
    if len(sets) < 2 or len(heads) < 2:
        text = "A map needs two sets of modalities and two techniques; the main table has what is."
        return DocumentSection("operators", "Fusion by set of modalities", (Prose(text),))
    levels = np.full((len(heads), len(sets)), np.nan)
    gains = np.full(levels.shape, np.nan)
    for cell in cells:
        if _head(material, cell) in heads and format_features(cell) in sets:
            place = heads.index(_head(material, cell)), sets.index(format_features(cell))
            levels[place] = material.level(cell)
            gains[place] = material.level(cell) - _best_single(material, cell)
    scope = f"Arms at fraction {material.fullest:g}"
    figure = draw_operators(sets, heads, levels, gains, scope)
    return DocumentSection("operators", "Fusion by set of modalities", (figure,))


def _head(material: ReportContext, cell: Arm) -> str:
    name = material.names.of(cell, fraction=False)
    return name.removeprefix(f"{format_features(cell)}: ")


def _best_single(material: ReportContext, cell: Arm) -> float:
    """Level of the best modality of a set alone; NaN if one of them has no arm."""
    levels = {
        other.features[0].key: material.level(other)
        for other in material.full
        if len(other.features) == 1 and other.training == cell.training
    }
    keys = {feature.key for feature in cell.features}
    return max(levels[key] for key in keys) if keys <= levels.keys() else float("nan")
