"""Section with maps of learned embeddings."""

from __future__ import annotations

from study.analysis.embedding_map import build_embedding_maps
from study.reporting.context import ReportContext
from study.reporting.document import DocumentSection, Prose
from study.reporting.figures.embedding import draw_embedding_map


def section(context: ReportContext) -> DocumentSection | None:
    """Draw one map per encoder whose embeddings are in the cache; explain if there are none."""
    choices = [f.config for arm in context.arms for f in arm.features]
    if not any(choice.trainable and choice.resolved != "joint" for choice in choices):
        return None
    maps = build_embedding_maps(context.analysis)
    if not maps:
        text = (
            "The embeddings of this study's encoders are not in the cache of this machine, so "
            "there is no map; launch the study again to compute them."
        )
        return DocumentSection("embeddings", "Learned embeddings", (Prose(text),))
    figures = [
        draw_embedding_map(f"embedding_{m.modality}", f"Embeddings of {m.modality}", m)
        for m in maps
    ]
    return DocumentSection("embeddings", "Learned embeddings", tuple(figures))
