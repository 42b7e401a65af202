"""Section with the declared contrasts: forest plots and a table."""

from __future__ import annotations

from collections.abc import Iterator

from study.analysis.study_analysis import ContrastResult
from study.reporting.context import ReportContext
from study.reporting.document import DocumentSection, DocumentTable, Figure, Prose
from study.reporting.figures.forest import ForestBar, draw_forest
from study.reporting.formatting import format_count
from study.reporting.tables import FINDING_COLUMNS, build_finding_frame

MAX_ROWS = 24
"""Maximum number of rows of a readable forest plot."""


def section(context: ReportContext) -> DocumentSection | None:
    """Draw one forest plot per family of contrasts, and list every finding."""
    findings = context.analysis.findings
    if not findings:
        return None
    note = (
        f"{format_count(len(findings), 'contrast')} declared before anything was measured; p "
        "values are adjusted (Holm) within a question. Wins: significant by both the influence "
        "curve and the corrected t. Suggestive: by one of them. Equivalent: the interval lies in "
        "the region of practical equivalence. Not resolvable: the study is too small to tell. No "
        "evidence: none of these."
    )
    table = DocumentTable(
        "contrasts", "Every declared contrast.", FINDING_COLUMNS, build_finding_frame(findings)
    )
    return DocumentSection(
        "contrasts", "Declared contrasts", (Prose(note), *_draw_figures(context), table)
    )


def _draw_figures(context: ReportContext) -> Iterator[Figure]:
    findings = context.analysis.findings
    for family in dict.fromkeys(finding.contrast.family for finding in findings):
        members = [finding for finding in findings if finding.contrast.family == family]
        title, plotted = f"Question: {family}", members
        if len(members) > MAX_ROWS:
            full = [f for f in members if f.contrast.arm.fraction == context.fullest]
            plotted = full[:MAX_ROWS] or members[:MAX_ROWS]
            title += (
                f" ({len(plotted)} of {len(members)}, the largest fraction in the file's order)"
            )
        bars = [_build_bar(context, finding) for finding in plotted]
        yield draw_forest(f"forest_{_to_file_name(family)}", title, bars)


def _to_file_name(family: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in family.lower())


def _build_bar(context: ReportContext, finding: ContrastResult) -> ForestBar:
    change, shared = context.names.contrast(finding.contrast)
    name = f"{shared}\n{change}" if shared else change
    return ForestBar(name, finding.macro, str(finding.verdict))
