"""Section on label ownership: which modality owns which label under a fixed partition."""

from __future__ import annotations

import math

import numpy as np

from study.analysis.influence import Floats
from study.analysis.sparse_gain import LabelOwnership, read_label_ownership
from study.reporting.context import ReportContext
from study.reporting.document import Block, DocumentSection, DocumentTable, Prose
from study.reporting.figures.owners import draw_label_owners
from study.reporting.formatting import Column, Row, build_frame

MAX_ARMS = 4
"""Maximum number of arms with a map."""


def section(context: ReportContext) -> DocumentSection | None:
    """Draw the ownership map of the first arms with a recorded partition; None without any."""
    ownerships = sorted(read_label_ownership(context.analysis), key=lambda o: -o.arm.fraction)
    if not ownerships:
        return None
    blocks: list[Block] = []
    if len(ownerships) > MAX_ARMS:
        text = f"The first {MAX_ARMS} of {len(ownerships)} arms with a fixed partition."
        blocks.append(Prose(text))
    for i, ownership in enumerate(ownerships[:MAX_ARMS], start=1):
        blocks += _build_blocks(context, ownership, i)
    return DocumentSection("ownership", "Label partitions", tuple(blocks))


def _build_blocks(context: ReportContext, ownership: LabelOwnership, number: int) -> list[Block]:
    data = context.analysis.results.data.dataset
    order = np.argsort(-data.positives, kind="stable")
    kinds = np.arange(len(ownership.modalities))[:, None, None]
    shares: Floats = (ownership.owners[None] == kinds).mean(axis=1)[:, order]
    labels = [data.label_names[i] for i in order]
    name = context.names.of(ownership.arm)
    figure = draw_label_owners(
        f"owners_{number}", f"Owners of the labels: {name}", ownership.modalities, labels, shares,
        _describe_stability(ownership),
    )  # fmt: skip
    columns = [Column("label", "label"), Column("positives", "positives", "d")]
    columns += [Column(modality, modality, ".2f") for modality in ownership.modalities]
    rows: list[Row] = [
        {"label": label, "positives": int(data.positives[order[i]])}
        | {m: float(shares[k, i]) for k, m in enumerate(ownership.modalities)}
        for i, label in enumerate(labels)
    ]
    caption = f"Share of the trials in which a modality owns a label: {name}."
    return [figure, DocumentTable(f"owners_{number}", caption, columns, build_frame(rows))]


def _describe_stability(ownership: LabelOwnership) -> str:
    if math.isnan(ownership.agreement):
        return "Stability cannot be estimated from one trial."
    overlap = (
        "" if math.isnan(ownership.jaccard) else f", mean Jaccard index {ownership.jaccard:.2f}"
    )
    shares = [float((ownership.owners == k).mean()) for k in range(len(ownership.modalities))]
    chance = sum(share**2 for share in shares)
    return (
        f"Between two of the {len(ownership.owners)} trials "
        f"{100 * ownership.agreement:.0f} % of the labels keep their owner{overlap}; owners drawn "
        f"at random with the same shares would agree on {100 * chance:.0f} %."
    )
