"""Declared contrasts: forest plots and their table."""

from __future__ import annotations

from collections.abc import Iterator

from study.analysis.study_analysis import ContrastResult
from study.reporting.context import ReportContext
from study.reporting.document import DocumentSection, DocumentTable, Figure, Prose
from study.reporting.figures.forest import ForestBar, draw_forest
from study.reporting.formatting import format_count
from study.reporting.tables import FINDING_COLUMNS, finding_frame

MOST = 24
"""Rows of a forest plot that can be read."""


def section(material: ReportContext) -> DocumentSection | None:
    """Draw one forest plot a question, and list every finding."""
    findings = material.evidence.findings
    if not findings:
        return None
    note = (
        f"{format_count(len(findings), 'contrast')} declared before anything was measured; p "
        "values "
        "are adjusted (Holm) within a question. "
        "Wins: the influence curve and the corrected t agree. Suggestive: one of them. Equivalent: "
        "the interval lies in the region of practical equivalence. Not resolvable: the study is "
        "too small to tell. No evidence: none of these."
    )
    table = DocumentTable(
        "contrasts", "Every declared contrast.", FINDING_COLUMNS, finding_frame(findings)
    )
    return DocumentSection(
        "contrasts", "Declared contrasts", (Prose(note), *_figures(material), table)
    )


def _figures(material: ReportContext) -> Iterator[Figure]:
    families = dict.fromkeys(each.contrast.family for each in material.evidence.findings)
    for family in families:
        found = [each for each in material.evidence.findings if each.contrast.family == family]
        title, shown = f"Question: {family}", found
        if len(found) > MOST:
            shown = [each for each in found if each.contrast.arm.fraction == material.fullest]
            shown = shown[:MOST] or found[:MOST]
            title += f" ({len(shown)} of {len(found)}, the largest fraction in the file's order)"
        yield draw_forest(
            f"forest_{_file(family)}", title, [_bar(material, each) for each in shown]
        )


def _file(family: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in family.lower())


def _bar(material: ReportContext, finding: ContrastResult) -> ForestBar:
    change, shared = material.names.contrast(finding.contrast)
    name = f"{shared}\n{change}" if shared else change
    return ForestBar(name, finding.macro, str(finding.verdict))
