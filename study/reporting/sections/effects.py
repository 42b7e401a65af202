"""Section on the effects of factors and modalities."""

from __future__ import annotations

import math
from collections import Counter

from study.analysis.factor_effects import FactorEffects, estimate_factor_effects
from study.analysis.shapley import (
    ModalityGain,
    ModalityWorth,
    compute_shapley_values,
    estimate_modality_gains,
)
from study.reporting.context import ReportContext
from study.reporting.document import Block, DocumentSection, DocumentTable, Prose
from study.reporting.figures.shares import draw_variance_shares
from study.reporting.figures.worth import draw_modality_worth
from study.reporting.formatting import Column, Row, build_frame
from study.reporting.tables import build_difference_row, number_or_none

MAX_ROWS = 10
"""Maximum number of rows (set and technique) in the figure of Shapley values."""
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


def section(context: ReportContext) -> DocumentSection:
    """Show variance shares, marginal means, Shapley values and gains of modalities."""
    effects, values = (
        estimate_factor_effects(context.analysis),
        compute_shapley_values(context.analysis),
    )
    gains = estimate_modality_gains(context.analysis)
    blocks = [*_build_factor_blocks(effects), *_build_worth_blocks(context, values)]
    if gains:
        frame = build_frame(map(_build_gain_row, gains))
        blocks.append(
            DocumentTable("modality_gains", "Gains of modalities, one at a time.", GAINS, frame)
        )
    return DocumentSection("effects", "Factors and modalities", tuple(blocks))


def _build_factor_blocks(effects: FactorEffects) -> list[Block]:
    note = f"{effects.note[:1].upper()}{effects.note[1:].rstrip('.')}."
    blocks: list[Block] = [Prose(note)] if effects.note else []
    if not effects.shares:
        return blocks
    explained = [share for share in effects.shares if not math.isnan(share.share)]
    if explained:
        blocks.append(draw_variance_shares(explained))
    blocks.append(
        DocumentTable(
            "shares", "Shares of the variance.", SHARES, build_frame(_build_share_rows(effects))
        )
    )
    if effects.marginals:
        rows: list[Row] = [
            {
                "factor": marginal.factor,
                "level": marginal.level,
                "mean": number_or_none(marginal.mean),
                "low": number_or_none(marginal.low),
                "high": number_or_none(marginal.high),
            }
            for marginal in effects.marginals
        ]
        frame = build_frame(rows)
        blocks.append(DocumentTable("marginals", "Marginal means of the levels.", MARGINALS, frame))
    return blocks


def _build_share_rows(effects: FactorEffects) -> list[Row]:
    return [
        {
            "factor": share.factor,
            "fraction": share.fraction,
            "share": number_or_none(share.share),
            "omega": number_or_none(share.omega),
            "sd": number_or_none(share.sd),
        }
        for share in effects.shares
    ]


def _build_worth_blocks(context: ReportContext, values: tuple[ModalityWorth, ...]) -> list[Block]:
    if not values:
        return [
            Prose(
                "Shapley values need an arm for every subset of a set of modalities; no set of "
                "this study has them all."
            )
        ]
    at_fullest = [worth for worth in values if worth.fraction == context.fullest]
    rows: list[Row] = [
        {
            "features": worth.features,
            "technique": worth.technique,
            "fraction": worth.fraction,
            "modality": worth.modality,
            "value": number_or_none(worth.value),
            "low": number_or_none(worth.low),
            "high": number_or_none(worth.high),
        }
        for worth in values
    ]
    readable = _select_readable(at_fullest)
    figures: list[Block] = [draw_modality_worth(readable)] if readable else []
    return [
        *figures,
        DocumentTable("worth", "Shapley values of the modalities.", WORTH, build_frame(rows)),
    ]


def _select_readable(values: list[ModalityWorth]) -> list[ModalityWorth]:
    """Keep only the largest sets if a figure of all sets would have too many rows."""
    sizes = Counter((worth.features, worth.technique) for worth in values)
    if len(sizes) <= MAX_ROWS:
        return values
    largest = max(sizes.values())
    return [worth for worth in values if sizes[worth.features, worth.technique] == largest]


def _build_gain_row(gain: ModalityGain) -> Row:
    return {
        "modality": gain.modality,
        "kind": gain.kind,
        "features": gain.features,
        "technique": gain.technique,
        "fraction": gain.fraction,
        **build_difference_row("difference", gain.difference),
    }
