"""Tables of arms, contrasts and learning curves."""

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
    build_frame,
    format_count,
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
"""Columns of a comparison; CSV and JSON have every column of the frame."""

LEGEND = (
    "gain: AUROC minus that of the reference on the same folds and seeds (without a baseline: the "
    "first MLP head with the same features); sparse: the fifth of the labels with the fewest "
    "positives; verdict: on the gain, from its p value (Holm-adjusted over the rows of the table) "
    "and the corrected t."
)
UNEQUAL = "*: an ensemble compared with a single model, which is not a fair comparison."
NO_SEEDS = (
    "one seed per arm: the effect of another seed is only estimated from the spread of the folds; "
    "add a second seed (seeds: [0, 1]) before trusting a small gain."
)


def build_comparison_frame(
    compared: Sequence[ArmComparison], *, studies: bool = False, versions: bool = False
) -> DataFrame:
    """Return one row per arm, optionally with its study and version.

    Undefined numbers are None.
    """
    frame = build_frame(map(_build_arm_row, compared))
    dropped = [] if studies else ["study", "reference_study"]
    dropped += [] if versions else ["version"]
    return frame.drop(columns=dropped, errors="ignore")


def _build_arm_row(compared: ArmComparison) -> Row:
    summary, level = compared.summary, compared.level
    return {
        "study": compared.study,
        "version": compared.version,
        **summary.arm.params(),
        "fraction": summary.arm.fraction,
        "auroc": number_or_none(summary.auroc),
        "auroc_low": number_or_none(level.low) if level else None,
        "auroc_high": number_or_none(level.high) if level else None,
        "auroc_sd": number_or_none(summary.auroc_sd),
        "ap": number_or_none(summary.average_precision),
        "auroc_q5": number_or_none(summary.fifths[-1]) if summary.fifths else None,
        **_paired_columns(compared.paired),
        "trials": f"{summary.repeats}/{summary.repeats + summary.missing}",
    }


def _paired_columns(paired: PairedComparison | None) -> Row:
    """Return the columns of the gain over the reference; None in all of them without one."""
    macro = build_difference_row("gain", paired.macro if paired else None)
    sparse = build_difference_row("sparse_gain", paired.sparse if paired else None)
    corrected = paired.macro.corrected if paired else None
    mark = "" if paired is None or paired.equal_size else " *"
    return {
        **macro,
        "gain_p": number_or_none(paired.macro.p) if paired else None,
        "gain_p_holm": number_or_none(paired.verdict.p_holm) if paired else None,
        "gain_p_corrected_t": number_or_none(corrected.p) if corrected else None,
        "p_better": number_or_none(corrected.better) if corrected else None,
        "p_equivalent": number_or_none(corrected.equivalent) if corrected else None,
        "smallest_detectable": number_or_none(paired.macro.smallest) if paired else None,
        "verdict": f"{paired.verdict}{mark}" if paired else None,
        **sparse,
        "reference_study": paired.study if paired else None,
        "reference": str(paired.reference) if paired else None,
    }


def build_difference_row(name: str, difference: PairedDifference | None) -> Row:
    """Return a difference and its interval as three columns."""
    if difference is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    low, high = number_or_none(difference.low), number_or_none(difference.high)
    return {name: number_or_none(difference.estimate), f"{name}_low": low, f"{name}_high": high}


def format_caveats(compared: Sequence[ArmComparison]) -> list[str]:
    """Return the legend of a comparison, and warnings about arms that cannot be trusted."""
    pairs = [row.paired for row in compared if row.paired]
    lines = [LEGEND]
    if any(not pair.equal_size for pair in pairs):
        lines.append(UNEQUAL)
    if any(pair.macro.seed_from != "seeds" for pair in pairs):
        lines.append(NO_SEEDS)
    summaries = [row.summary for row in compared]
    return [*lines, *find_undefined(summaries), *find_unconverged(summaries)]


def find_undefined(summaries: Sequence[ArmSummary]) -> list[str]:
    """Return a line for every arm whose means are undefined because a label is undefined."""
    return [
        f"undefined: {summary.arm}: AUROC of {format_count(summary.undefined, 'pair')} of label "
        "and test fold, which have no positives or no negatives, and therefore the means over "
        "labels; use fewer folds, or remove these labels from the table"
        for summary in summaries
        if summary.undefined
    ]


def find_unconverged(summaries: Sequence[ArmSummary]) -> list[str]:
    """Return a line for every arm with trials that did not converge."""
    return [
        f"not converged: {summary.arm}: {summary.unconverged} of {summary.repeats} trials were "
        "best in one of their first or in their last epoch; increase training.patience or "
        "training.epochs before comparing them"
        for summary in summaries
        if summary.unconverged
    ]


def number_or_none(value: float) -> float | None:
    """Return a number, or None if it is NaN."""
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


def build_finding_frame(
    findings: Sequence[ContrastResult], study: str | None = None, version: str | None = None
) -> DataFrame:
    """Return one row per declared contrast, with the name and version of the study if passed."""
    origin = {"study": study, "version": version}
    first = {name: text for name, text in origin.items() if text is not None}
    return build_frame(first | _build_contrast_row(finding) for finding in findings)


def _build_contrast_row(finding: ContrastResult) -> Row:
    macro, contrast = finding.macro, finding.contrast
    corrected, precision = macro.corrected, finding.average_precision
    return {
        "family": contrast.family,
        "arm": str(contrast.arm),
        "reference": str(contrast.reference),
        **build_difference_row("difference", macro),
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
        **_build_fifth_columns(finding),
    }


def _build_fifth_columns(finding: ContrastResult) -> Row:
    row: Row = {}
    for number, difference in enumerate(finding.fifths, start=1):
        row |= build_difference_row(f"difference_q{number}", difference)
    return row


@dataclass(frozen=True)
class TablePart:
    """One table on the scaling of a study.

    Attributes
    ----------
    name, heading, legend : str
        Key in CSV and JSON; text above and below the table.
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
    "'miss': by a fit without that point. A few fractions cannot separate exponent and floor."
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


def build_scaling_tables(analysis: StudyAnalysis) -> tuple[TablePart, ...]:
    """Return the four tables on the scaling of a study.

    Raises
    ------
    InputError
        No arm has finished trials at two fractions.
    """
    curves = build_learning_curves(analysis)
    if not curves:
        raise InputError(
            f"study '{analysis.results.spec.name}' has no arm with finished trials at two training "
            "fractions; add several to its file, e.g. fractions: [0.1, 0.25, 0.5, 1.0], and launch "
            "it"
        )
    laws = build_frame(row for curve in curves for row in build_law_rows(curve))
    efficiencies = build_frame(map(build_efficiency_row, estimate_data_efficiency(analysis)))
    claims = build_frame(map(build_claim_row, build_fraction_claims(analysis)))
    points = build_frame(row for curve in curves for row in build_curve_rows(curve))
    claim_legend = CLAIM_LEGEND.format(len(claims))
    return (
        TablePart("curves", "Learning curves", CURVE_LEGEND, CURVE_COLUMNS, points),
        TablePart("power_laws", "Power laws", LAW_LEGEND, LAW_COLUMNS, laws),
        TablePart(
            "efficiencies", "Data efficiency", EFFICIENCY_LEGEND, EFFICIENCY_COLUMNS, efficiencies
        ),
        TablePart("claims", "Less data against all of it", claim_legend, CLAIM_COLUMNS, claims),
    )


def format_scaling(parts: Sequence[TablePart], kind: Kind) -> str:
    """Return the tables as text, ending in a newline.

    JSON is an object with one key per table; CSV is one table with the column ``part``.
    """
    if kind == "json":
        return json.dumps({part.name: records(part.frame) for part in parts}, indent=2) + "\n"
    if kind == "csv":
        from pandas import concat

        frames = {part.name: part.frame for part in parts}
        return render_table(concat(frames, names=["part"]).reset_index("part"), (), kind)
    return "\n".join(_format_part(part, kind) for part in parts if len(part.frame))


def build_curve_rows(curve: LearningCurve) -> Iterator[Row]:
    """Yield one row per fraction of a curve."""
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


def build_law_rows(curve: LearningCurve) -> Iterator[Row]:
    """Yield one row per power law of a curve."""
    for law in (curve.two, curve.three):
        if law is not None:
            yield {"arm": curve.name, **_build_law_row(law)}


def _build_law_row(law: PowerLaw) -> Row:
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


def build_efficiency_row(efficiency: DataEfficiency) -> Row:
    """Return the row of a data-efficiency fraction; ends beyond the measured range are None."""
    sign = {"above": "> ", "below": "<= ", "": ""}[efficiency.censored]
    factor = {"above": "< ", "below": ">= ", "": ""}[efficiency.censored]
    low, high = _format_end(efficiency.low), _format_end(efficiency.high)
    return {
        "arm": efficiency.arm,
        "reference": efficiency.reference,
        "at": f"{sign}{efficiency.fraction:.3g} [{low}, {high}]",
        "times": f"{factor}{efficiency.factor:.3g}",
        "fraction": efficiency.fraction,
        "fraction_low": efficiency.low if 0 < efficiency.low < math.inf else None,
        "fraction_high": efficiency.high if 0 < efficiency.high < math.inf else None,
        "censored": efficiency.censored,
        "factor": efficiency.factor,
    }


def build_claim_row(claim: FractionClaim) -> Row:
    """Return the row of a claim."""
    corrected = claim.difference.corrected
    return {
        "arm": str(claim.arm),
        "reference": str(claim.reference),
        "fraction": claim.arm.fraction,
        **build_difference_row("difference", claim.difference),
        "p_holm": number_or_none(claim.verdict.p_holm),
        "p_corrected_t": number_or_none(corrected.p),
        "p_better": number_or_none(corrected.better),
        "verdict": str(claim.verdict),
    }


def _format_end(value: float) -> str:
    """Return an interval end as text; ``below`` or ``above`` beyond the measured range."""
    return {0.0: "below", math.inf: "above"}.get(value, f"{value:.3g}")


def _format_part(part: TablePart, kind: Kind) -> str:
    heading = f"## {part.heading}\n" if kind == "md" else part.heading
    return f"{heading}\n{render_table(part.frame, part.columns, kind)}\n{part.legend}\n"
