"""Learning curves, power laws, data-efficiency fractions and claims as tables of text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.analysis.evidence import Evidence
from study.analysis.scaling import (
    Claim,
    Curve,
    Efficiency,
    PowerLaw,
    claims,
    curves,
    efficiencies,
)
from study.errors import InputError
from study.report.rendering import Column, Kind, Row, frame_of, records, render
from study.report.table import difference_row, number

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Part:
    """One table of the scaling of a study.

    Attributes
    ----------
    name, heading, legend : str
        Key in CSV and JSON; what readers see above and below the table.
    columns : tuple of Column
    frame : DataFrame
    """

    name: str
    heading: str
    legend: str
    columns: tuple[Column, ...]
    frame: DataFrame


CURVE_COLUMNS = (
    Column("arm", "arm"),
    Column("fraction", "fraction", "g"),
    Column("molecules", "molecules", ".0f"),
    Column("auroc", "AUROC [95 % CI]", ".4f", ("auroc_low", "auroc_high")),
    Column("shape", "shape"),
)
LAW_COLUMNS = (
    Column("arm", "arm"),
    Column("form", "1 - AUROC ="),
    Column("a", "a", ".3g"),
    Column("b", "b [95 % CI]", ".3f", ("b_low", "b_high")),
    Column("c", "c [95 % CI]", ".3f", ("c_low", "c_high")),
    Column("holdout_error", "miss of the last point", ".4f"),
)
EFFICIENCY_COLUMNS = (
    Column("arm", "arm"),
    Column("reference", "reaches the full-data score of"),
    Column("at", "at fraction [95 % CI]"),
    Column("times", "data factor"),
)
CLAIM_COLUMNS = (
    Column("arm", "arm"),
    Column("reference", "against, with all the data"),
    Column("fraction", "fraction", "g"),
    Column("difference", "difference [95 % CI]", "+.4f", ("difference_low", "difference_high")),
    Column("p_better", "P(better)", ".2f"),
    Column("verdict", "verdict"),
)

CURVE_LEGEND = (
    "molecules: training molecules, validation part included; intervals: corrected t over folds; "
    "'drops': worse than a smaller fraction by more than noise (paired, Holm over the pairs)."
)
LAW_LEGEND = (
    "intervals: 95 % of 200 refits to draws of the curve (test molecules by group, and seeds); "
    "'miss': by a fit without that point. A few fractions do not tell the exponent from the floor."
)
EFFICIENCY_LEGEND = (
    "isotonic regression of the means, interpolated in log n; '>' and '<=': beyond the fractions "
    "measured; intervals: 95 % of 1,000 draws (test molecules by group, and seeds)."
)
CLAIM_LEGEND = (
    "pairs: contrasts declared at fraction 1, and arms of several modalities against each of their "
    "own modalities alone (ensembles only where the file says so); paired on the same test folds; "
    "verdict: after Holm over all {} claims."
)


def scaling_parts(evidence: Evidence) -> tuple[Part, ...]:
    """Return the four tables of the scaling of a study.

    Raises
    ------
    InputError
        No arm has finished trials at two fractions.
    """
    found = curves(evidence)
    if not found:
        raise InputError(
            f"study '{evidence.record.spec.name}' has no arm with finished trials at two training "
            "fractions; give its file several, e.g. fractions: [0.1, 0.25, 0.5, 1.0], and launch it"
        )
    laws = frame_of(row for curve in found for row in law_rows(curve))
    reached = frame_of(map(efficiency_row, efficiencies(evidence)))
    made = frame_of(map(claim_row, claims(evidence)))
    points = frame_of(row for curve in found for row in curve_rows(curve))
    said = CLAIM_LEGEND.format(len(made))
    return (
        Part("curves", "Learning curves", CURVE_LEGEND, CURVE_COLUMNS, points),
        Part("power_laws", "Power laws", LAW_LEGEND, LAW_COLUMNS, laws),
        Part("efficiencies", "Data efficiency", EFFICIENCY_LEGEND, EFFICIENCY_COLUMNS, reached),
        Part("claims", "Less data against all of it", said, CLAIM_COLUMNS, made),
    )


def scaling_text(parts: Sequence[Part], kind: Kind) -> str:
    """Return the tables as text, ending in a newline.

    JSON is an object of the tables; CSV one table, whose column ``part`` tells them apart.
    """
    if kind == "json":
        return json.dumps({part.name: records(part.frame) for part in parts}, indent=2) + "\n"
    if kind == "csv":
        from pandas import concat

        frames = {part.name: part.frame for part in parts}
        return render(concat(frames, names=["part"]).reset_index("part"), (), kind)
    return "\n".join(_part_text(part, kind) for part in parts if len(part.frame))


def curve_rows(curve: Curve) -> Iterator[Row]:
    """Yield a row for every fraction of a curve."""
    points = zip(curve.fractions, curve.molecules, curve.auroc, curve.low, curve.high, strict=True)
    for fraction, molecules, auroc, low, high in points:
        yield {
            "arm": curve.name,
            "fraction": fraction,
            "molecules": molecules,
            "auroc": number(auroc),
            "auroc_low": number(low),
            "auroc_high": number(high),
            "shape": "rises" if curve.monotone else "drops",
        }


def law_rows(curve: Curve) -> Iterator[Row]:
    """Yield a row for every power law of a curve."""
    for law in (curve.two, curve.three):
        if law is not None:
            yield {"arm": curve.name, **_law_row(law)}


def _law_row(law: PowerLaw) -> Row:
    return {
        "form": law.form,
        "a": law.a,
        "b": law.b,
        "b_low": number(law.b_low),
        "b_high": number(law.b_high),
        "c": law.c if "c" in law.form else None,
        "c_low": number(law.c_low),
        "c_high": number(law.c_high),
        "holdout_error": number(law.holdout_error),
    }


def efficiency_row(each: Efficiency) -> Row:
    """Return a data-efficiency fraction; ends that lie beyond the fractions are None."""
    sign = {"above": "> ", "below": "<= ", "": ""}[each.censored]
    factor = {"above": "< ", "below": ">= ", "": ""}[each.censored]
    return {
        "arm": each.arm,
        "reference": each.reference,
        "at": f"{sign}{each.fraction:.3g} [{_end(each.low)}, {_end(each.high)}]",
        "times": f"{factor}{each.factor:.3g}",
        "fraction": each.fraction,
        "fraction_low": each.low if 0 < each.low < math.inf else None,
        "fraction_high": each.high if 0 < each.high < math.inf else None,
        "censored": each.censored,
        "factor": each.factor,
    }


def claim_row(claim: Claim) -> Row:
    """Return a claim."""
    corrected = claim.difference.corrected
    return {
        "arm": str(claim.arm),
        "reference": str(claim.reference),
        "fraction": claim.arm.fraction,
        **difference_row("difference", claim.difference),
        "p_holm": number(claim.verdict.p_holm),
        "p_corrected_t": number(corrected.p),
        "p_better": number(corrected.better),
        "verdict": str(claim.verdict),
    }


def _end(value: float) -> str:
    """End of an interval, or that it lies below or above everything measured."""
    return {0.0: "below", math.inf: "above"}.get(value, f"{value:.3g}")


def _part_text(part: Part, kind: Kind) -> str:
    heading = f"## {part.heading}\n" if kind == "md" else part.heading
    return f"{heading}\n{render(part.frame, part.columns, kind)}\n{part.legend}\n"
