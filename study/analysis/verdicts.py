"""From two p values, an interval and probabilities to one word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from study.analysis.influence import Floats
from study.analysis.paired import ROPE, PairedDifference

LEVEL = 0.05
SURE = 0.95


class VerdictKind(StrEnum):
    """What one may say of a difference."""

    WINS = "wins"
    SUGGESTIVE = "suggestive"
    EQUIVALENT = "equivalent"
    NO_EVIDENCE = "no evidence"
    NOT_RESOLVABLE = "not resolvable"


@dataclass(frozen=True)
class Verdict:
    """What a paired difference shows, and which side it favours.

    Attributes
    ----------
    kind : VerdictKind
    better : {'arm', 'reference', ''}
        Who is ahead where the word is ``wins`` or ``suggestive``; empty otherwise.
    p_holm : float
        The p value of the difference after Holm over the family of its contrast.
    """

    kind: VerdictKind
    better: str
    p_holm: float

    def __str__(self) -> str:
        if self.better != "reference":
            return str(self.kind)
        return "reference wins" if self.kind is VerdictKind.WINS else f"{self.kind} (reference)"


def judge(difference: PairedDifference, p_holm: float, rope: float = ROPE) -> Verdict:
    """Return the verdict on a declared contrast.

    ``wins`` where the influence-curve p, adjusted by Holm, and the corrected t both stay below
    5 %; ``suggestive`` where one does; otherwise ``equivalent`` where the 95 % interval lies in
    the region of practical equivalence or its probability reaches 95 %; ``not resolvable`` where
    the smallest detectable effect is more than twice that region's half width, or unknown, so
    that silence means nothing; ``no evidence`` else.

    Parameters
    ----------
    difference : PairedDifference
    p_holm : float
        Its p after the adjustment.
    rope : float
        Half width of the region of practical equivalence.
    """
    agreeing = (p_holm < LEVEL) + (difference.corrected.p < LEVEL)
    if agreeing:
        better = "arm" if difference.estimate > 0 else "reference"
        return Verdict(
            VerdictKind.WINS if agreeing == 2 else VerdictKind.SUGGESTIVE, better, p_holm
        )
    inside = -rope < difference.low and difference.high < rope
    if inside or difference.corrected.equivalent >= SURE:
        return Verdict(VerdictKind.EQUIVALENT, "", p_holm)
    seen = difference.smallest <= 2 * rope  # false for an undefined one
    return Verdict(VerdictKind.NO_EVIDENCE if seen else VerdictKind.NOT_RESOLVABLE, "", p_holm)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for the claims of one family (Holm 1979, Scand. J. Stat. 6:65).

    An undefined p (NaN) stays undefined and counts for nothing.
    """
    from statsmodels.stats.multitest import multipletests  # imports pandas

    adjusted, known = _known(p_values)
    if known.any():
        adjusted[known] = multipletests(adjusted[known], method="holm")[1]
    return [float(each) for each in adjusted]


def control_false_discoveries(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for a list of discoveries: q values of Benjamini & Hochberg 1995.

    An undefined p (NaN) stays undefined and counts for nothing.
    """
    from scipy.stats import false_discovery_control

    adjusted, known = _known(p_values)
    if known.any():
        adjusted[known] = false_discovery_control(adjusted[known], method="bh")
    return [float(each) for each in adjusted]


def _known(p_values: Sequence[float]) -> tuple[Floats, NDArray[np.bool_]]:
    values = np.array(p_values, dtype=np.float64)
    return values, ~np.isnan(values)
