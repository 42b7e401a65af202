"""The table of declared contrasts, from findings to a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.analysis.evidence import Finding
from study.report.rendering import Column, Row, frame_of
from study.report.table import difference_row, number

if TYPE_CHECKING:
    from pandas import DataFrame

FINDING_COLUMNS = (
    Column("study", "study"),
    Column("family", "question"),
    Column("arm", "arm"),
    Column("reference", "against"),
    Column("difference", "difference [95 % CI]", "+.4f", ("difference_low", "difference_high")),
    Column("p_holm", "p (Holm)", ".3f"),
    Column("p_corrected_t", "p (corrected t)", ".3f"),
    Column("p_better", "P(better)", ".2f"),
    Column("p_equivalent", "P(equivalent)", ".2f"),
    Column("smallest_detectable", "smallest detectable", ".4f"),
    Column("verdict", "verdict"),
)
"""Columns that readers see; CSV and JSON have every column of the frame."""


def finding_frame(findings: Sequence[Finding], study: str | None = None) -> DataFrame:
    """Return one row a declared contrast, with the study's name if it is given."""
    first = {} if study is None else {"study": study}
    return frame_of(first | _row(finding) for finding in findings)


def _row(finding: Finding) -> Row:
    macro, contrast = finding.macro, finding.contrast
    corrected, precision = macro.corrected, finding.average_precision
    return {
        "family": contrast.family,
        "arm": str(contrast.arm),
        "reference": str(contrast.reference),
        **difference_row("difference", macro),
        "p": number(macro.p),
        "p_holm": number(finding.verdict.p_holm),
        "p_corrected_t": number(corrected.p),
        "p_better": number(corrected.better),
        "p_equivalent": number(corrected.equivalent),
        "p_worse": number(corrected.worse),
        "smallest_detectable": number(macro.smallest),
        "verdict": str(finding.verdict) + ("" if finding.equal_size else " *"),
        "ap_difference": number(precision.mean),
        "ap_low": number(precision.low),
        "ap_high": number(precision.high),
        **_fifths(finding),
    }


def _fifths(finding: Finding) -> Row:
    row: Row = {}
    for place, difference in enumerate(finding.fifths, start=1):
        row |= difference_row(f"difference_q{place}", difference)
    return row
