"""What the factors of the grid explain, and what each modality is worth."""

from __future__ import annotations

from collections import Counter

from study.analysis.factor_effects import FactorEffects, estimate_factor_effects
from study.analysis.shapley import (
    ModalityGain,
    ModalityWorth,
    estimate_modality_gains,
    shapley_values,
)
from study.reporting.context import ReportContext
from study.reporting.document import Block, DocumentSection, DocumentTable, Prose
from study.reporting.figures.shares import draw_variance_shares
from study.reporting.figures.worth import draw_modality_worth
from study.reporting.formatting import Column, Row, frame_of
from study.reporting.tables import difference_row, number_or_none

MOST_ROWS = 10
"""Sets and techniques whose Shapley values fit one figure."""
SHARES = (
    Column("factor", "factor"),
    Column("fraction", "at fraction", "g"),
    Column("share", "share", ".3f"),
    Column("omega", "omega²", ".3f"),
    Column("sd", "AUROC SD explained", ".4f"),
)
MARGINALS = (
    Column("factor", "factor"),
    Column("level", "level"),
    Column("mean", "marginal mean [95 % CI]", ".4f", ("low", "high")),
)
WORTH = (
    Column("features", "set"),
    Column("technique", "technique"),
    Column("fraction", "fraction", "g"),
    Column("modality", "modality"),
    Column("value", "Shapley value [95 % CI]", "+.4f", ("low", "high")),
)
GAINS = (
    Column("modality", "modality"),
    Column("kind", "kind"),
    Column("features", "beside"),
    Column("technique", "technique"),
    Column("fraction", "fraction", "g"),
    Column("difference", "gain [95 % CI]", "+.4f", ("difference_low", "difference_high")),
)


def section(material: ReportContext) -> DocumentSection:
    """Show variance shares, marginal means, Shapley values and gains of modalities."""
    found, values = estimate_factor_effects(material.evidence), shapley_values(material.evidence)
    gains = estimate_modality_gains(material.evidence)
    blocks = [*_factors(found), *_worth(material, values)]
    if gains:
        frame = frame_of(map(_gain, gains))
        blocks.append(
            DocumentTable("modality_gains", "Gains of modalities, one at a time.", GAINS, frame)
        )
    return DocumentSection("effects", "Factors and modalities", tuple(blocks))


def _factors(found: FactorEffects) -> list[Block]:
    note = f"{found.note[:1].upper()}{found.note[1:].rstrip('.')}."
    blocks: list[Block] = [Prose(note)] if found.note else []
    if not found.shares:
        return blocks
    explained = [share for share in found.shares if share.share == share.share]
    if explained:
        blocks.append(draw_variance_shares(explained))
    blocks.append(
        DocumentTable("shares", "Shares of the variance.", SHARES, frame_of(_shares(found)))
    )
    if found.marginals:
        rows: list[Row] = [
            {
                "factor": m.factor,
                "level": m.level,
                "mean": number_or_none(m.mean),
                "low": number_or_none(m.low),
                "high": number_or_none(m.high),
            }
            for m in found.marginals
        ]
        frame = frame_of(rows)
        blocks.append(DocumentTable("marginals", "Marginal means of the levels.", MARGINALS, frame))
    return blocks


def _shares(found: FactorEffects) -> list[Row]:
    return [
        {
            "factor": share.factor,
            "fraction": share.fraction,
            "share": number_or_none(share.share),
            "omega": number_or_none(share.omega),
            "sd": number_or_none(share.sd),
        }
        for share in found.shares
    ]


def _worth(material: ReportContext, values: tuple[ModalityWorth, ...]) -> list[Block]:
    if not values:
        return [
            Prose(
                "Shapley values need an arm for every subset of a set of modalities; no set of "
                "this study has them all."
            )
        ]
    full = [each for each in values if each.fraction == material.fullest]
    rows: list[Row] = [
        {
            "features": each.features,
            "technique": each.technique,
            "fraction": each.fraction,
            "modality": each.modality,
            "value": number_or_none(each.value),
            "low": number_or_none(each.low),
            "high": number_or_none(each.high),
        }
        for each in values
    ]
    shown = _readable(full)
    figures: list[Block] = [draw_modality_worth(shown)] if shown else []
    return [
        *figures,
        DocumentTable("worth", "Shapley values of the modalities.", WORTH, frame_of(rows)),
    ]


def _readable(values: list[ModalityWorth]) -> list[ModalityWorth]:
    """Leave out the smaller sets where a figure would have too many rows."""
    sizes = Counter((each.features, each.technique) for each in values)
    if len(sizes) <= MOST_ROWS:
        return values
    largest = max(sizes.values())
    return [each for each in values if sizes[each.features, each.technique] == largest]


def _gain(gain: ModalityGain) -> Row:
    return {
        "modality": gain.modality,
        "kind": gain.kind,
        "features": gain.features,
        "technique": gain.technique,
        "fraction": gain.fraction,
        **difference_row("difference", gain.difference),
    }
