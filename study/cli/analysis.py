"""Commands that read results: compare, scaling, report, calibrate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from study.cli.options import (
    EXIT_INCOMPLETE,
    TrackingOption,
    UntrackedOption,
    VersionOption,
    parse_columns,
)


class Format(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"


def compare(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Launched studies, by name or file.")
    ],
    storage: Annotated[str, typer.Option("--storage", help="Folder of results.")] = "studies",
    kind: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN=WORD,...",
            help="Compare every arm with this one, e.g. features=mordred,technique=single.",
        ),
    ] = None,
    contrasts: Annotated[
        list[str] | None,
        typer.Option(help="Show the declared contrasts of this question, or 'all' (repeatable)."),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", help="Read the studies, by name, from this MLflow store."),
    ] = None,
    version: VersionOption = None,
) -> None:
    """Compare arms, within and across studies, with paired intervals and verdicts."""
    from study.api import ComparisonRequest, compare_studies

    words = parse_columns(baseline) if baseline is not None else None
    asked = ComparisonRequest(studies, storage, tracking_uri, words, contrasts or [], version)
    text, complete = compare_studies(asked, kind.value)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)


def calibrate(
    pairs: Annotated[
        int, typer.Option(help="Simulated tables; each gives one pair of every kind.", min=2)
    ] = 100,
    seed: Annotated[int, typer.Option(help="Of the molecules and the draws.", min=0)] = 0,
) -> None:
    """Count wrong verdicts on seed-null pairs, and intervals that hold a known difference."""
    from study.calibration.calibration import measure_calibration as measure
    from study.calibration.text import format_calibration

    typer.echo(format_calibration(measure(pairs, seed)), nl=False)


def report(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A launched study, by name or file.")
    ],
    storage: Annotated[str, typer.Option("--storage", help="Folder of results.")] = "studies",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report (STORAGE/STUDY/report).")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option("--beside", help="Another study to set beside it (repeatable)."),
    ] = None,
    tracking_uri: TrackingOption = None,
    untracked: UntrackedOption = False,
    version: VersionOption = None,
) -> None:
    """Write the report of a study: one HTML page, Markdown, tables and figures."""
    from study.reporting.build import report_study
    from study.tracking.open import open_report_keeper

    keep = None if untracked else open_report_keeper(storage, tracking_uri)
    text, complete = report_study(study, storage, out, beside or [], keep, version)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)


class ScalingFormat(StrEnum):
    """How the scaling of a study is printed."""

    TABLE = "table"
    MD = "md"
    CSV = "csv"
    JSON = "json"


def scaling(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A launched study with several fractions.")
    ],
    storage: Annotated[str, typer.Option("--storage", help="Folder of results.")] = "studies",
    kind: Annotated[
        ScalingFormat, typer.Option("--format", help="How to print.")
    ] = ScalingFormat.TABLE,
    version: VersionOption = None,
) -> None:
    """Print learning curves, power laws, data-efficiency fractions and claims across fractions."""
    from study.analysis.study_analysis import StudyAnalysis
    from study.config.loading import study_name
    from study.planning.contrasts import build_contrasts
    from study.reporting.tables import scaling_parts, scaling_text
    from study.results.study_results import load_results
    from study.storage.storage import Storage

    name = study_name(study)
    record = load_results(Storage(storage).below(name), version)
    evidence = StudyAnalysis(record, build_contrasts(record.spec, record.plan))
    typer.echo(scaling_text(scaling_parts(evidence), kind.value), nl=False)
    for line in record.version_lines:
        typer.echo(line, err=kind in (ScalingFormat.CSV, ScalingFormat.JSON))
