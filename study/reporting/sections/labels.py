"""Section with every label: positives, AUROC of both sides, gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.analysis.sparse_gain import SparseGain
from study.reporting.context import ReportContext
from study.reporting.document import DocumentSection, DocumentTable, Prose
from study.reporting.formatting import Column, Row, build_frame
from study.reporting.tables import number_or_none

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (
    Column("label", "label"),
    Column("positives", "positives", "d"),
    Column("fifth", "fifth", "d"),
    Column("auroc_arm", "AUROC", ".3f"),
    Column("auroc_reference", "reference", ".3f"),
    Column("gain", "gain [95 % CI]", "+.3f", ("gain_low", "gain_high")),
    Column("q", "q", ".3f"),
    Column("ap_gain", "AP gain", "+.3f"),
    Column("headroom", "share of headroom", "+.2f"),
)


def section(context: ReportContext) -> DocumentSection | None:
    """List the gain of every label for the first sparse gain, and the AUROC of every arm."""
    if not context.sparse:
        return None
    gain = context.sparse[0]
    rows = sorted(_build_rows(gain), key=lambda row: -int(row["positives"]))
    significant = sum(label.q < 0.05 for label in gain.labels)
    note = (
        f"{context.title(gain.contrast)}. Sorted by positives; click a heading to sort. q: "
        f"Benjamini-Hochberg over the {len(gain.labels)} labels; {significant} have q < 0.05."
    )
    columns, frame = _build_matrix(context)
    arms = DocumentTable("labels_arms", "AUROC of every label and arm.", columns, frame)
    gains = DocumentTable("labels", "Gain by label.", COLUMNS, build_frame(rows))
    return DocumentSection("labels", "Every label", (Prose(note), gains, arms))


def _build_rows(gain: SparseGain) -> list[Row]:
    return [
        {
            "label": label.name,
            "positives": label.positives,
            "fifth": label.fifth + 1,
            "auroc_arm": number_or_none(label.auroc_arm),
            "auroc_reference": number_or_none(label.auroc_reference),
            "gain": number_or_none(label.gain),
            "gain_low": number_or_none(label.low),
            "gain_high": number_or_none(label.high),
            "p": number_or_none(label.p),
            "q": number_or_none(label.q),
            "ap_gain": number_or_none(label.ap_gain),
            "headroom": number_or_none(label.headroom),
        }
        for label in gain.labels
    ]


MAX_ARMS = 8
"""Maximum number of arms with a column on the page."""


def _build_matrix(context: ReportContext) -> tuple[tuple[Column, ...], DataFrame]:
    """Build the table of AUROC by label and arm; the page shows only the first arms."""
    data = context.analysis.results.data.dataset
    names = {arm.id: context.names.of(arm) for arm in (*context.full, *context.arms)}
    means = {key: context.analysis.arms[key].auroc.mean(axis=0) for key in names}
    rows: list[Row] = [
        {"label": name, "positives": int(data.positives[i])}
        | {names[key]: number_or_none(float(values[i])) for key, values in means.items()}
        for i, name in enumerate(data.label_names)
    ]
    arm_columns = [Column(names[arm.id], names[arm.id], ".3f") for arm in context.full[:MAX_ARMS]]
    rows.sort(key=lambda row: -row["positives"])
    return (COLUMNS[0], COLUMNS[1], *arm_columns), build_frame(rows)
