"""Maps of learned embeddings."""

from __future__ import annotations

from study.analysis.embedding_map import build_embedding_maps
from study.reporting.context import ReportContext
from study.reporting.document import DocumentSection, Prose
from study.reporting.figures.embedding import draw_embedding_map


def section(material: ReportContext) -> DocumentSection | None:
    """Draw one map for every encoder whose embeddings are kept; say so where none are."""
    choices = [f.choice for arm in material.arms for f in arm.features]
    if not any(choice.trainable and choice.resolved != "joint" for choice in choices):
        return None
    found = build_embedding_maps(material.evidence)
    if not found:
        text = (
            "The embeddings of this study's encoders are not in the cache of this machine, so "
            "there is no map to show; launching the study again makes them anew."
        )
        return DocumentSection("embeddings", "Learned embeddings", (Prose(text),))
    figures = [
        draw_embedding_map(f"embedding_{each.modality}", f"Embeddings of {each.modality}", each)
        for each in found
    ]
    return DocumentSection("embeddings", "Learned embeddings", tuple(figures))
