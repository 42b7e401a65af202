"""The comparison table of arms, from numbers to a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.analysis.comparison import Compared, Rival
from study.analysis.inference import Difference
from study.analysis.summary import CellSummary
from study.report.rendering import Column, Row, frame_of
from study.report.texts import counted

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (
    Column("study", "study"),
    Column("features", "features"),
    Column("technique", "technique"),
    Column("fusion", "fusion"),
    Column("partition", "partition"),
    Column("fraction", "fraction", "g"),
    Column("auroc", "AUROC", ".4f"),
    Column("auroc_sd", "fold SD", ".4f"),
    Column("ap", "AP", ".4f"),
    Column("auroc_q5", "sparse AUROC", ".4f"),
    Column("gain", "gain [95 % CI]", "+.4f", ("gain_low", "gain_high")),
    Column("verdict", "verdict"),
    Column("sparse_gain", "sparse gain [95 % CI]", "+.4f", ("sparse_gain_low", "sparse_gain_high")),
    Column("trials", "trials"),
)
"""Columns that readers see; CSV and JSON have every column of the frame."""

LEGEND = (
    "gain: AUROC minus the reference's on the same folds and seeds (without a baseline: the first "
    "MLP head of the same features); sparse: the fifth of the labels with the fewest positives; "
    "verdict: of the gain, after Holm over the table's rows, and with the corrected t beside it."
)
UNEQUAL = "*: averages several models, its reference one: no fair rivals."
NO_SEEDS = (
    "one seed an arm: what another seed would move is only estimated from the scatter of the "
    "folds; give the study a second one (seeds: [0, 1]) before believing a small gain."
)


def comparison_frame(compared: Sequence[Compared], *, studies: bool = False) -> DataFrame:
    """Return one row an arm, with the study's name if asked; undefined numbers are None."""
    frame = frame_of(_row(each) for each in compared)
    return frame if studies else frame.drop(columns=["study", "reference_study"], errors="ignore")


def _row(each: Compared) -> Row:
    summary, level = each.summary, each.level
    row: Row = {"study": each.study, **summary.cell.params()}
    row |= {
        "fraction": summary.cell.fraction,
        "auroc": number(summary.auroc),
        "auroc_low": number(level.low) if level else None,
        "auroc_high": number(level.high) if level else None,
        "auroc_sd": number(summary.auroc_sd),
        "ap": number(summary.average_precision),
        "auroc_q5": number(summary.fifths[-1]) if summary.fifths else None,
        **_rival(each.rival),
        "trials": f"{summary.repeats}/{summary.repeats + summary.missing}",
    }
    return row


def _rival(rival: Rival | None) -> Row:
    """Return what is said of a gain; None in every column of an arm without a reference."""
    macro = difference_row("gain", rival.macro if rival else None)
    sparse = difference_row("sparse_gain", rival.sparse if rival else None)
    corrected = rival.macro.corrected if rival else None
    mark = "" if rival is None or rival.equal_size else " *"
    return {
        **macro,
        "gain_p": number(rival.macro.p) if rival else None,
        "gain_p_holm": number(rival.verdict.p_holm) if rival else None,
        "gain_p_corrected_t": number(corrected.p) if corrected else None,
        "p_better": number(corrected.better) if corrected else None,
        "p_equivalent": number(corrected.equivalent) if corrected else None,
        "smallest_detectable": number(rival.macro.smallest) if rival else None,
        "verdict": f"{rival.verdict}{mark}" if rival else None,
        **sparse,
        "reference_study": rival.study if rival else None,
        "reference": str(rival.reference) if rival else None,
    }


def difference_row(name: str, difference: Difference | None) -> Row:
    """Return a difference and its interval as three columns."""
    if difference is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = number(difference.low), number(difference.high)
    return {name: number(difference.estimate), f"{name}_low": low, f"{name}_high": high}


def caveats(compared: Sequence[Compared]) -> list[str]:
    """Return what to know before reading a comparison: the legend and arms not to be trusted."""
    rivals = [each.rival for each in compared if each.rival]
    lines = [LEGEND]
    if any(not rival.equal_size for rival in rivals):
        lines.append(UNEQUAL)
    if any(rival.macro.seed_from != "seeds" for rival in rivals):
        lines.append(NO_SEEDS)
    summaries = [each.summary for each in compared]
    return [*lines, *unranked(summaries), *unsettled(summaries)]


def unranked(summaries: Sequence[CellSummary]) -> list[str]:
    """Return a line for every arm whose means are undefined because a label is."""
    return [
        f"undefined: {summary.cell}: AUROC of {counted(summary.undefined, 'pair')} of label and "
        "test fold, without positives or without negatives, and with it the means over labels; "
        "use fewer folds, or leave these labels out of the table"
        for summary in summaries
        if summary.undefined
    ]


def unsettled(summaries: Sequence[CellSummary]) -> list[str]:
    """Return a line for every arm whose training ended where it should not."""
    return [
        f"not converged: {summary.cell}: {summary.unconverged} of {summary.repeats} trials were "
        "best in one of their first or in their last epoch; raise training.patience or "
        "training.epochs before comparing them"
        for summary in summaries
        if summary.unconverged
    ]


def number(value: float) -> float | None:
    """Return a number, or None where it is undefined."""
    return None if math.isnan(value) else value
