"""Tables of arms, contrasts and learning curves, in every output format."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.analysis.comparison import ArmComparison, PairedComparison
from study.analysis.learning_curves import (
    DataEfficiency,
    FractionClaim,
    LearningCurve,
    PowerLaw,
    build_fraction_claims,
    build_learning_curves,
    estimate_data_efficiency,
)
from study.analysis.paired import PairedDifference
from study.analysis.study_analysis import ContrastResult, StudyAnalysis
from study.errors import InputError
from study.reporting.formatting import (
    Column,
    Kind,
    Row,
    format_count,
    frame_of,
    records,
    render_table,
)
from study.results.summary import ArmSummary

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (
    Column("study", "study"),
    Column("version", "version"),
    Column("features", "features"),
    Column("technique", "technique"),
    Column("fusion", "fusion"),
    Column("partition", "partition"),
    Column("fraction", "fraction", "g"),
    Column("auroc", "AUROC", ".4f"),
    Column("auroc_sd", "fold SD", ".4f"),
    Column("ap", "AP", ".4f"),
    Column("auroc_q5", "sparse AUROC", ".4f"),
    Column("gain", "gain [95 % CI]", "+.4f", ("gain_low", "gain_high")),
    Column("verdict", "verdict"),
    Column("sparse_gain", "sparse gain [95 % CI]", "+.4f", ("sparse_gain_low", "sparse_gain_high")),
    Column("trials", "trials"),
)
"""Columns that readers see; CSV and JSON have every column of the frame."""

LEGEND = (
    "gain: AUROC minus the reference's on the same folds and seeds (without a baseline: the first "
    "MLP head of the same features); sparse: the fifth of the labels with the fewest positives; "
    "verdict: of the gain, after Holm over the table's rows, and with the corrected t beside it."
)
UNEQUAL = "*: averages several models, its reference one: no fair rivals."
NO_SEEDS = (
    "one seed an arm: what another seed would move is only estimated from the scatter of the "
    "folds; give the study a second one (seeds: [0, 1]) before believing a small gain."
)


def comparison_frame(
    compared: Sequence[ArmComparison], *, studies: bool = False, versions: bool = False
) -> DataFrame:
    """Return one row an arm, with its study and version if asked; undefined numbers are None."""
    frame = frame_of(_row(each) for each in compared)
    dropped = [] if studies else ["study", "reference_study"]
    dropped += [] if versions else ["version"]
    return frame.drop(columns=dropped, errors="ignore")


def _row(each: ArmComparison) -> Row:
    summary, level = each.summary, each.level
    row: Row = {"study": each.study, "version": each.version, **summary.arm.params()}
    row |= {
        "fraction": summary.arm.fraction,
        "auroc": number_or_none(summary.auroc),
        "auroc_low": number_or_none(level.low) if level else None,
        "auroc_high": number_or_none(level.high) if level else None,
        "auroc_sd": number_or_none(summary.auroc_sd),
        "ap": number_or_none(summary.average_precision),
        "auroc_q5": number_or_none(summary.fifths[-1]) if summary.fifths else None,
        **_rival(each.rival),
        "trials": f"{summary.repeats}/{summary.repeats + summary.missing}",
    }
    return row


def _rival(rival: PairedComparison | None) -> Row:
    """Return what is said of a gain; None in every column of an arm without a reference."""
    macro = difference_row("gain", rival.macro if rival else None)
    sparse = difference_row("sparse_gain", rival.sparse if rival else None)
    corrected = rival.macro.corrected if rival else None
    mark = "" if rival is None or rival.equal_size else " *"
    return {
        **macro,
        "gain_p": number_or_none(rival.macro.p) if rival else None,
        "gain_p_holm": number_or_none(rival.verdict.p_holm) if rival else None,
        "gain_p_corrected_t": number_or_none(corrected.p) if corrected else None,
        "p_better": number_or_none(corrected.better) if corrected else None,
        "p_equivalent": number_or_none(corrected.equivalent) if corrected else None,
        "smallest_detectable": number_or_none(rival.macro.smallest) if rival else None,
        "verdict": f"{rival.verdict}{mark}" if rival else None,
        **sparse,
        "reference_study": rival.study if rival else None,
        "reference": str(rival.reference) if rival else None,
    }


def difference_row(name: str, difference: PairedDifference | None) -> Row:
    """Return a difference and its interval as three columns."""
    if difference is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = number_or_none(difference.low), number_or_none(difference.high)
    return {name: number_or_none(difference.estimate), f"{name}_low": low, f"{name}_high": high}


def format_caveats(compared: Sequence[ArmComparison]) -> list[str]:
    """Return what to know before reading a comparison: the legend and arms not to be trusted."""
    rivals = [each.rival for each in compared if each.rival]
    lines = [LEGEND]
    if any(not rival.equal_size for rival in rivals):
        lines.append(UNEQUAL)
    if any(rival.macro.seed_from != "seeds" for rival in rivals):
        lines.append(NO_SEEDS)
    summaries = [each.summary for each in compared]
    return [*lines, *unranked(summaries), *find_unsettled(summaries)]


def unranked(summaries: Sequence[ArmSummary]) -> list[str]:
    """Return a line for every arm whose means are undefined because a label is."""
    return [
        f"undefined: {summary.arm}: AUROC of {format_count(summary.undefined, 'pair')} of label "
        "and "
        "test fold, without positives or without negatives, and with it the means over labels; "
        "use fewer folds, or leave these labels out of the table"
        for summary in summaries
        if summary.undefined
    ]


def find_unsettled(summaries: Sequence[ArmSummary]) -> list[str]:
    """Return a line for every arm whose training ended where it should not."""
    return [
        f"not converged: {summary.arm}: {summary.unconverged} of {summary.repeats} trials were "
        "best in one of their first or in their last epoch; raise training.patience or "
        "training.epochs before comparing them"
        for summary in summaries
        if summary.unconverged
    ]


def number_or_none(value: float) -> float | None:
    """Return a number, or None where it is undefined."""
    return None if math.isnan(value) else value


FINDING_COLUMNS = (
    Column("study", "study"),
    Column("version", "version"),
    Column("family", "question"),
    Column("arm", "arm"),
    Column("reference", "against"),
    Column("difference", "difference [95 % CI]", "+.4f", ("difference_low", "difference_high")),
    Column("p_holm", "p (Holm)", ".3f"),
    Column("p_corrected_t", "p (corrected t)", ".3f"),
    Column("p_better", "P(better)", ".2f"),
    Column("p_equivalent", "P(equivalent)", ".2f"),
    Column("smallest_detectable", "smallest detectable", ".4f"),
    Column("verdict", "verdict"),
)
"""Columns that readers see; CSV and JSON have every column of the frame."""


def finding_frame(
    findings: Sequence[ContrastResult], study: str | None = None, version: str | None = None
) -> DataFrame:
    """Return one row a declared contrast, with the study's name and version if they are given."""
    given = {"study": study, "version": version}
    first = {name: text for name, text in given.items() if text is not None}
    return frame_of(first | _contrast_row(finding) for finding in findings)


def _contrast_row(finding: ContrastResult) -> Row:
    macro, contrast = finding.macro, finding.contrast
    corrected, precision = macro.corrected, finding.average_precision
    return {
        "family": contrast.family,
        "arm": str(contrast.arm),
        "reference": str(contrast.reference),
        **difference_row("difference", macro),
        "p": number_or_none(macro.p),
        "p_holm": number_or_none(finding.verdict.p_holm),
        "p_corrected_t": number_or_none(corrected.p),
        "p_better": number_or_none(corrected.better),
        "p_equivalent": number_or_none(corrected.equivalent),
        "p_worse": number_or_none(corrected.worse),
        "smallest_detectable": number_or_none(macro.smallest),
        "verdict": str(finding.verdict) + ("" if finding.equal_size else " *"),
        "ap_difference": number_or_none(precision.mean),
        "ap_low": number_or_none(precision.low),
        "ap_high": number_or_none(precision.high),
        **_fifths(finding),
    }


def _fifths(finding: ContrastResult) -> Row:
    row: Row = {}
    for place, difference in enumerate(finding.fifths, start=1):
        row |= difference_row(f"difference_q{place}", difference)
    return row


@dataclass(frozen=True)
class TablePart:
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


def scaling_parts(evidence: StudyAnalysis) -> tuple[TablePart, ...]:
    """Return the four tables of the scaling of a study.

    Raises
    ------
    InputError
        No arm has finished trials at two fractions.
    """
    found = build_learning_curves(evidence)
    if not found:
        raise InputError(
            f"study '{evidence.record.spec.name}' has no arm with finished trials at two training "
            "fractions; give its file several, e.g. fractions: [0.1, 0.25, 0.5, 1.0], and launch it"
        )
    laws = frame_of(row for curve in found for row in law_rows(curve))
    reached = frame_of(map(efficiency_row, estimate_data_efficiency(evidence)))
    made = frame_of(map(claim_row, build_fraction_claims(evidence)))
    points = frame_of(row for curve in found for row in curve_rows(curve))
    said = CLAIM_LEGEND.format(len(made))
    return (
        TablePart("curves", "Learning curves", CURVE_LEGEND, CURVE_COLUMNS, points),
        TablePart("power_laws", "Power laws", LAW_LEGEND, LAW_COLUMNS, laws),
        TablePart(
            "efficiencies", "Data efficiency", EFFICIENCY_LEGEND, EFFICIENCY_COLUMNS, reached
        ),
        TablePart("claims", "Less data against all of it", said, CLAIM_COLUMNS, made),
    )


def scaling_text(parts: Sequence[TablePart], kind: Kind) -> str:
    """Return the tables as text, ending in a newline.

    JSON is an object of the tables; CSV one table, whose column ``part`` tells them apart.
    """
    if kind == "json":
        return json.dumps({part.name: records(part.frame) for part in parts}, indent=2) + "\n"
    if kind == "csv":
        from pandas import concat

        frames = {part.name: part.frame for part in parts}
        return render_table(concat(frames, names=["part"]).reset_index("part"), (), kind)
    return "\n".join(_part_text(part, kind) for part in parts if len(part.frame))


def curve_rows(curve: LearningCurve) -> Iterator[Row]:
    """Yield a row for every fraction of a curve."""
    points = zip(curve.fractions, curve.molecules, curve.auroc, curve.low, curve.high, strict=True)
    for fraction, molecules, auroc, low, high in points:
        yield {
            "arm": curve.name,
            "fraction": fraction,
            "molecules": molecules,
            "auroc": number_or_none(auroc),
            "auroc_low": number_or_none(low),
            "auroc_high": number_or_none(high),
            "shape": "rises" if curve.monotone else "drops",
        }


def law_rows(curve: LearningCurve) -> Iterator[Row]:
    """Yield a row for every power law of a curve."""
    for law in (curve.two, curve.three):
        if law is not None:
            yield {"arm": curve.name, **_law_row(law)}


def _law_row(law: PowerLaw) -> Row:
    return {
        "form": law.form,
        "a": law.a,
        "b": law.b,
        "b_low": number_or_none(law.b_low),
        "b_high": number_or_none(law.b_high),
        "c": law.c if "c" in law.form else None,
        "c_low": number_or_none(law.c_low),
        "c_high": number_or_none(law.c_high),
        "holdout_error": number_or_none(law.holdout_error),
    }


def efficiency_row(each: DataEfficiency) -> Row:
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


def claim_row(claim: FractionClaim) -> Row:
    """Return a claim."""
    corrected = claim.difference.corrected
    return {
        "arm": str(claim.arm),
        "reference": str(claim.reference),
        "fraction": claim.arm.fraction,
        **difference_row("difference", claim.difference),
        "p_holm": number_or_none(claim.verdict.p_holm),
        "p_corrected_t": number_or_none(corrected.p),
        "p_better": number_or_none(corrected.better),
        "verdict": str(claim.verdict),
    }


def _end(value: float) -> str:
    """End of an interval, or that it lies below or above everything measured."""
    return {0.0: "below", math.inf: "above"}.get(value, f"{value:.3g}")


def _part_text(part: TablePart, kind: Kind) -> str:
    heading = f"## {part.heading}\n" if kind == "md" else part.heading
    return f"{heading}\n{render_table(part.frame, part.columns, kind)}\n{part.legend}\n"
