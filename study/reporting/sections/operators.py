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
    arms = [arm for arm in material.full if len(arm.features) > 1]
    heads = list(dict.fromkeys(_head(material, arm) for arm in arms))[:MOST]
    sets = list(dict.fromkeys(format_features(arm) for arm in arms))[:MOST]
    if not arms:
        return None
    if len(sets) < 2 or len(heads) < 2:
        text = "A map needs two sets of modalities and two techniques; the main table has what is."
        return DocumentSection("operators", "Fusion by set of modalities", (Prose(text),))
    levels = np.full((len(heads), len(sets)), np.nan)
    gains = np.full(levels.shape, np.nan)
    for arm in arms:
        if _head(material, arm) in heads and format_features(arm) in sets:
            place = heads.index(_head(material, arm)), sets.index(format_features(arm))
            levels[place] = material.level(arm)
            gains[place] = material.level(arm) - _best_single(material, arm)
    scope = f"Arms at fraction {material.fullest:g}"
    figure = draw_operators(sets, heads, levels, gains, scope)
    return DocumentSection("operators", "Fusion by set of modalities", (figure,))


def _head(material: ReportContext, arm: Arm) -> str:
    name = material.names.of(arm, fraction=False)
    return name.removeprefix(f"{format_features(arm)}: ")


def _best_single(material: ReportContext, arm: Arm) -> float:
    """Level of the best modality of a set alone; NaN if one of them has no arm."""
    levels = {
        other.features[0].key: material.level(other)
        for other in material.full
        if len(other.features) == 1 and other.training == arm.training
    }
    keys = {feature.key for feature in arm.features}
    return max(levels[key] for key in keys) if keys <= levels.keys() else float("nan")
