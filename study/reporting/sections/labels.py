"""Every label: positives, AUROC of both sides, gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.analysis.sparse_gain import SparseGain
from study.reporting.context import ReportContext
from study.reporting.document import DocumentSection, DocumentTable, Prose
from study.reporting.formatting import Column, Row, frame_of
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


def section(material: ReportContext) -> DocumentSection | None:
    """List the labels of the first contrast with a sparse gain; every arm is in the file."""
    if not material.sparse:
        return None
    gain = material.sparse[0]
    rows = sorted(_rows(gain), key=lambda row: -int(row["positives"]))
    told = sum(label.q < 0.05 for label in gain.labels)
    note = (
        f"{material.title(gain.contrast)}. Sorted by positives; a heading sorts. q: "
        f"Benjamini-Hochberg over the {len(gain.labels)} labels; {told} have q < 0.05."
    )
    everything = DocumentTable("labels_arms", "AUROC of every label and arm.", *_matrix(material))
    table = DocumentTable("labels", "Gain by label.", COLUMNS, frame_of(rows))
    return DocumentSection("labels", "Every label", (Prose(note), table, everything))


def _rows(gain: SparseGain) -> list[Row]:
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


MOST = 8
"""Arms whose columns fit a page."""


def _matrix(material: ReportContext) -> tuple[tuple[Column, ...], DataFrame]:
    """AUROC of every label by arm: the first ones on the page, all in the file."""
    data = material.evidence.record.data.dataset
    named = {arm.id: material.names.of(arm) for arm in (*material.full, *material.arms)}
    means = {key: material.evidence.arms[key].auroc.mean(axis=0) for key in named}
    rows: list[Row] = [
        {"label": name, "positives": int(data.positives[i])}
        | {named[key]: number_or_none(float(values[i])) for key, values in means.items()}
        for i, name in enumerate(data.label_names)
    ]
    shown = [Column(named[arm.id], named[arm.id], ".3f") for arm in material.full[:MOST]]
    rows.sort(key=lambda row: -row["positives"])
    return (COLUMNS[0], COLUMNS[1], *shown), frame_of(rows)
