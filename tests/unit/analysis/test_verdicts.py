"""Verdicts and adjusted p values against values worked out by hand."""

from dataclasses import replace

import pytest

from study.analysis.paired import CorrectedT, PairedDifference
from study.analysis.verdicts import VerdictKind, adjust_holm, control_false_discoveries, judge

CORRECTED = CorrectedT(0.02, 0.005, 4, 0.006, 0.034, 0.5, 0.1, 0.1, 0.1)
DIFFERENCE = PairedDifference(
    0.02, 0.002, 0.0, 0.002, 0.016, 0.024, 0.5, CORRECTED, 0.0056, (0.02,)
)


def difference(p, **changes):
    """A difference whose corrected t has this p."""
    return replace(DIFFERENCE, corrected=replace(CORRECTED, p=p), **changes)


@pytest.mark.parametrize(
    ("p_holm", "p_corrected", "kind"),
    [
        (0.04, 0.04, VerdictKind.WINS),
        (0.04, 0.06, VerdictKind.SUGGESTIVE),
        (0.06, 0.04, VerdictKind.SUGGESTIVE),
        (0.05, 0.05, VerdictKind.NO_EVIDENCE),
    ],
)
def test_both_tests_win_and_one_suggests(p_holm, p_corrected, kind):
    assert judge(difference(p_corrected), p_holm).kind is kind


def test_verdict_names_the_better_side():
    assert str(judge(difference(0.01, estimate=-0.02), 0.01)) == "reference wins"
    assert judge(difference(0.01), 0.01).better == "arm"


def test_equivalent_and_not_resolvable():
    assert judge(difference(0.5, low=-0.004, high=0.0049), 0.5).kind is VerdictKind.EQUIVALENT
    assert judge(difference(0.5, low=-0.004, high=0.0051), 0.5).kind is VerdictKind.NO_EVIDENCE
    assert judge(difference(0.5, smallest=0.0101), 0.5).kind is VerdictKind.NOT_RESOLVABLE
    likely = replace(DIFFERENCE, corrected=replace(CORRECTED, equivalent=0.95))
    assert judge(likely, 0.5).kind is VerdictKind.EQUIVALENT


def test_undefined_corrected_t_is_only_suggestive():
    assert judge(difference(float("nan")), 0.01).kind is VerdictKind.SUGGESTIVE


def test_undefined_difference_is_not_resolvable():
    nan = float("nan")
    unknown = difference(nan, estimate=nan, low=nan, high=nan, smallest=nan)
    assert judge(unknown, nan).kind is VerdictKind.NOT_RESOLVABLE


def test_undefined_p_is_not_counted():
    assert adjust_holm([0.03, float("nan"), 0.01]) == pytest.approx(
        [0.03, float("nan"), 0.02], nan_ok=True
    )


def test_holm_by_hand():
    # smallest first: 3 * 0.01, max(0.03, 2 * 0.02), max(0.04, 0.03)
    assert adjust_holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert adjust_holm([]) == []


def test_benjamini_hochberg_by_hand():
    # largest first: 0.5, min(0.5, 0.03 * 4 / 3), min(0.04, 0.02 * 4 / 2), 0.001 * 4
    assert control_false_discoveries([0.5, 0.001, 0.03, 0.02]) == pytest.approx(
        [0.5, 0.004, 0.04, 0.04]
    )
