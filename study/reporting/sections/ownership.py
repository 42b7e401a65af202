"""Which modality owns which label under a fixed partition."""

from __future__ import annotations

import math

import numpy as np

from study.analysis.influence import Floats
from study.analysis.sparse_gain import LabelOwnership, read_label_ownership
from study.reporting.context import ReportContext
from study.reporting.document import Block, DocumentSection, DocumentTable, Prose
from study.reporting.figures.owners import draw_label_owners
from study.reporting.formatting import Column, Row, frame_of

MOST = 4
"""Arms with a map."""


def section(material: ReportContext) -> DocumentSection | None:
    """Draw the map of the first arms with a recorded partition; None without any."""
    found = sorted(read_label_ownership(material.evidence), key=lambda each: -each.arm.fraction)
    if not found:
        return None
    blocks: list[Block] = []
    if len(found) > MOST:
        text = f"The first {MOST} of {len(found)} arms with a fixed partition."
        blocks.append(Prose(text))
    for i, ownership in enumerate(found[:MOST], start=1):
        blocks += _shown(material, ownership, i)
    return DocumentSection("ownership", "Label partitions", tuple(blocks))


def _shown(material: ReportContext, found: LabelOwnership, number: int) -> list[Block]:
    data = material.evidence.record.data.dataset
    order = np.argsort(-data.positives, kind="stable")
    kinds = np.arange(len(found.modalities))[:, None, None]
    shares: Floats = (found.owners[None] == kinds).mean(axis=1)[:, order]
    labels = [data.label_names[i] for i in order]
    name = material.names.of(found.arm)
    figure = draw_label_owners(
        f"owners_{number}", f"Owners of the labels: {name}", found.modalities, labels, shares,
        _stability(found),
    )  # fmt: skip
    columns = [Column("label", "label"), Column("positives", "positives", "d")]
    columns += [Column(modality, modality, ".2f") for modality in found.modalities]
    rows: list[Row] = [
        {"label": label, "positives": int(data.positives[order[i]])}
        | {m: float(shares[k, i]) for k, m in enumerate(found.modalities)}
        for i, label in enumerate(labels)
    ]
    caption = f"Share of the trials in which a modality owns a label: {name}."
    return [figure, DocumentTable(f"owners_{number}", caption, columns, frame_of(rows))]


def _stability(found: LabelOwnership) -> str:
    if math.isnan(found.agreement):
        return "One trial says nothing about stability."
    overlap = "" if math.isnan(found.jaccard) else f", mean Jaccard index {found.jaccard:.2f}"
    owned = [float((found.owners == k).mean()) for k in range(len(found.modalities))]
    chance = sum(share**2 for share in owned)
    return (
        f"Between two of the {len(found.owners)} trials {100 * found.agreement:.0f} % of the "
        f"labels keep their owner{overlap}; owners dealt at random in the same shares would agree "
        f"on {100 * chance:.0f} %."
    )
