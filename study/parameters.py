"""Trained weights of the arms that are compared: within 2 % of each other, or said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from study.contrasts import Contrast

TOLERANCE = 0.02


def unequal_lines(contrasts: Iterable[Contrast], counts: Mapping[str, float]) -> list[str]:
    """Return one line a family with pairs whose trained weights differ by more than 2 %.

    Parameters
    ----------
    contrasts : iterable of Contrast
    counts : mapping of cell id to float
        Trained weights of an arm; pairs with an arm that is not in it are passed over.
    """
    ratios: dict[str, list[float]] = {}
    known: dict[str, int] = {}
    for contrast in contrasts:
        arm, reference = counts.get(contrast.arm.id), counts.get(contrast.reference.id)
        if arm and reference:
            known[contrast.family] = known.get(contrast.family, 0) + 1
            if abs(arm / reference - 1) > TOLERANCE:
                ratios.setdefault(contrast.family, []).append(arm / reference)
    return [
        f"{family}: {len(found)} of {known[family]} pairs differ by more than {TOLERANCE:.0%} in "
        f"trained weights (arm over reference {min(found):.2f} to {max(found):.2f})"
        for family, found in ratios.items()
    ]
