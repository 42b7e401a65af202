"""Section with the heat map of techniques and operators by set of modalities."""

from __future__ import annotations

import numpy as np

from study.planning.trials import Arm
from study.reporting.context import ReportContext, format_features
from study.reporting.document import DocumentSection, Prose
from study.reporting.figures.operators import draw_operators

MAX_SIZE = 12
"""Maximum number of columns and rows of a readable map."""


def section(context: ReportContext) -> DocumentSection | None:
    """Draw the heat map of the arms with several modalities at the largest fraction."""
    arms = [arm for arm in context.full if len(arm.features) > 1]
    heads = list(dict.fromkeys(_format_head(context, arm) for arm in arms))[:MAX_SIZE]
    sets = list(dict.fromkeys(format_features(arm) for arm in arms))[:MAX_SIZE]
    if not arms:
        return None
    if len(sets) < 2 or len(heads) < 2:
        text = (
            "A heat map needs two sets of modalities and two techniques; see the main table for "
            "the existing arms."
        )
        return DocumentSection("operators", "Fusion by set of modalities", (Prose(text),))
    levels = np.full((len(heads), len(sets)), np.nan)
    gains = np.full(levels.shape, np.nan)
    for arm in arms:
        if _format_head(context, arm) in heads and format_features(arm) in sets:
            position = heads.index(_format_head(context, arm)), sets.index(format_features(arm))
            levels[position] = context.level(arm)
            gains[position] = context.level(arm) - _find_best_single(context, arm)
    scope = f"Arms at fraction {context.fullest:g}"
    figure = draw_operators(sets, heads, levels, gains, scope)
    return DocumentSection("operators", "Fusion by set of modalities", (figure,))


def _format_head(context: ReportContext, arm: Arm) -> str:
    name = context.names.of(arm, fraction=False)
    return name.removeprefix(f"{format_features(arm)}: ")


def _find_best_single(context: ReportContext, arm: Arm) -> float:
    """Return the level of the best single modality of an arm; NaN if one of them has no arm."""
    levels = {
        other.features[0].key: context.level(other)
        for other in context.full
        if len(other.features) == 1 and other.training == arm.training
    }
    keys = {feature.key for feature in arm.features}
    return max(levels[key] for key in keys) if keys <= levels.keys() else float("nan")
