"""From two p values, an interval and probabilities to one word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from study.analysis.inference import ROPE, Difference

LEVEL = 0.05
SURE = 0.95


class Word(StrEnum):
    """What one may say of a difference."""

    WINS = "wins"
    SUGGESTIVE = "suggestive"
    EQUIVALENT = "equivalent"
    NO_EVIDENCE = "no evidence"
    NOT_RESOLVABLE = "not resolvable"


@dataclass(frozen=True)
class Verdict:
    """A word, and whom it favours.

    Attributes
    ----------
    word : Word
    better : {'arm', 'reference', ''}
        Who is ahead where the word is ``wins`` or ``suggestive``; empty otherwise.
    p_holm : float
        The p value of the difference after Holm over the family of its contrast.
    """

    word: Word
    better: str
    p_holm: float

    def __str__(self) -> str:
        return f"{self.word} (reference)" if self.better == "reference" else str(self.word)


def judge(difference: Difference, p_holm: float, rope: float = ROPE) -> Verdict:
    """Return the verdict on a declared contrast.

    ``wins`` where the influence-curve p, adjusted by Holm, and the corrected t both stay below
    5 %; ``suggestive`` where one does; otherwise ``equivalent`` where the 95 % interval lies in
    the region of practical equivalence or its probability reaches 95 %; ``not resolvable`` where
    the smallest detectable effect is more than twice that region's half width, so that silence
    means nothing; ``no evidence`` else.

    Parameters
    ----------
    difference : Difference
    p_holm : float
        Its p after the adjustment.
    rope : float
        Half width of the region of practical equivalence.
    """
    agreeing = (p_holm < LEVEL) + (difference.corrected.p < LEVEL)
    if agreeing:
        better = "arm" if difference.estimate > 0 else "reference"
        return Verdict(Word.WINS if agreeing == 2 else Word.SUGGESTIVE, better, p_holm)
    inside = -rope < difference.low and difference.high < rope
    if inside or difference.corrected.equivalent >= SURE:
        return Verdict(Word.EQUIVALENT, "", p_holm)
    blind = difference.smallest > 2 * rope
    return Verdict(Word.NOT_RESOLVABLE if blind else Word.NO_EVIDENCE, "", p_holm)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for the claims of one family (Holm 1979, Scand. J. Stat. 6:65)."""
    return _adjusted(p_values, "holm")


def discoveries(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for a list of discoveries: q values of Benjamini & Hochberg 1995."""
    return _adjusted(p_values, "fdr_bh")


def _adjusted(p_values: Sequence[float], method: str) -> list[float]:
    from statsmodels.stats.multitest import multipletests  # a second to import

    if not len(p_values):
        return []
    return [float(p) for p in multipletests(list(p_values), alpha=LEVEL, method=method)[1]]
