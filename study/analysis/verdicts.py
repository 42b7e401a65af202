"""Verdicts on paired differences, and adjustment of p values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from study.analysis.influence import Floats
from study.analysis.paired import ROPE, PairedDifference

SIGNIFICANCE = 0.05
EQUIVALENCE_PROBABILITY = 0.95


class VerdictKind(StrEnum):
    """Conclusion about a difference."""

    WINS = "wins"
    SUGGESTIVE = "suggestive"
    EQUIVALENT = "equivalent"
    NO_EVIDENCE = "no evidence"
    NOT_RESOLVABLE = "not resolvable"


@dataclass(frozen=True)
class Verdict:
    """Conclusion about a paired difference and the side that it favors.

    Attributes
    ----------
    kind : VerdictKind
    better : {'arm', 'reference', ''}
        The side with the higher AUROC if `kind` is ``wins`` or ``suggestive``, otherwise empty.
    p_holm : float
        p value of the difference after Holm adjustment over the family of its contrast.
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

    - ``wins``: the Holm-adjusted p of the influence curve and the p of the corrected t are both
      below 5 %.
    - ``suggestive``: one of them is.
    - ``equivalent``: the 95 % interval lies inside the region of practical equivalence, or the
      posterior probability of that region is at least 95 %.
    - ``not resolvable``: the smallest detectable effect is unknown or more than twice the half
      width of that region, so that a missing difference means nothing.
    - ``no evidence``: none of these.

    Parameters
    ----------
    difference : PairedDifference
    p_holm : float
        p value of the difference after Holm adjustment.
    rope : float
        Half width of the region of practical equivalence.
    """
    agreeing = (p_holm < SIGNIFICANCE) + (difference.corrected.p < SIGNIFICANCE)
    if agreeing:
        better = "arm" if difference.estimate > 0 else "reference"
        return Verdict(
            VerdictKind.WINS if agreeing == 2 else VerdictKind.SUGGESTIVE, better, p_holm
        )
    inside = -rope < difference.low and difference.high < rope
    if inside or difference.corrected.equivalent >= EQUIVALENCE_PROBABILITY:
        return Verdict(VerdictKind.EQUIVALENT, "", p_holm)
    resolvable = difference.smallest <= 2 * rope  # False if `smallest` is NaN
    kind = VerdictKind.NO_EVIDENCE if resolvable else VerdictKind.NOT_RESOLVABLE
    return Verdict(kind, "", p_holm)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p values of one family of contrasts (Holm 1979, Scand. J. Stat. 6:65).

    NaN stays NaN and is not counted.
    """
    from statsmodels.stats.multitest import multipletests  # imports pandas

    adjusted, defined = _mask_defined(p_values)
    if defined.any():
        adjusted[defined] = multipletests(adjusted[defined], method="holm")[1]
    return [float(p) for p in adjusted]


def control_false_discoveries(p_values: Sequence[float]) -> list[float]:
    """Return the q values of Benjamini & Hochberg 1995, which control the false discovery rate.

    NaN stays NaN and is not counted.
    """
    from scipy.stats import false_discovery_control

    adjusted, defined = _mask_defined(p_values)
    if defined.any():
        adjusted[defined] = false_discovery_control(adjusted[defined], method="bh")
    return [float(p) for p in adjusted]


def _mask_defined(p_values: Sequence[float]) -> tuple[Floats, NDArray[np.bool_]]:
    values = np.array(p_values, dtype=np.float64)
    return values, ~np.isnan(values)
