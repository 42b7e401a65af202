"""What the factors of the grid explain, and what each modality is worth."""

from __future__ import annotations

from collections import Counter

from study.analysis.factor_effects import Effects, factor_effects
from study.analysis.shapley import ModalityGain, Worth, modality_gains, shapley_values
from study.reporting.context import Material
from study.reporting.document import Block, Prose, Section, Table
from study.reporting.figures.shares import shares
from study.reporting.figures.worth import worth
from study.reporting.formatting import Column, Row, frame_of
from study.reporting.tables import difference_row, number

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


def section(material: Material) -> Section:
    """Show variance shares, marginal means, Shapley values and gains of modalities."""
    found, values = factor_effects(material.evidence), shapley_values(material.evidence)
    gains = modality_gains(material.evidence)
    blocks = [*_factors(found), *_worth(material, values)]
    if gains:
        frame = frame_of(map(_gain, gains))
        blocks.append(Table("modality_gains", "Gains of modalities, one at a time.", GAINS, frame))
    return Section("effects", "Factors and modalities", tuple(blocks))


def _factors(found: Effects) -> list[Block]:
    note = f"{found.note[:1].upper()}{found.note[1:].rstrip('.')}."
    blocks: list[Block] = [Prose(note)] if found.note else []
    if not found.shares:
        return blocks
    explained = [share for share in found.shares if share.share == share.share]
    if explained:
        blocks.append(shares(explained))
    blocks.append(Table("shares", "Shares of the variance.", SHARES, frame_of(_shares(found))))
    if found.marginals:
        rows: list[Row] = [
            {
                "factor": m.factor,
                "level": m.level,
                "mean": number(m.mean),
                "low": number(m.low),
                "high": number(m.high),
            }
            for m in found.marginals
        ]
        frame = frame_of(rows)
        blocks.append(Table("marginals", "Marginal means of the levels.", MARGINALS, frame))
    return blocks


def _shares(found: Effects) -> list[Row]:
    return [
        {
            "factor": share.factor,
            "fraction": share.fraction,
            "share": number(share.share),
            "omega": number(share.omega),
            "sd": number(share.sd),
        }
        for share in found.shares
    ]


def _worth(material: Material, values: tuple[Worth, ...]) -> list[Block]:
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
            "value": number(each.value),
            "low": number(each.low),
            "high": number(each.high),
        }
        for each in values
    ]
    shown = _readable(full)
    figures: list[Block] = [worth(shown)] if shown else []
    return [*figures, Table("worth", "Shapley values of the modalities.", WORTH, frame_of(rows))]


def _readable(values: list[Worth]) -> list[Worth]:
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
