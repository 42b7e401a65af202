"""Commands that read results: compare, scaling, report, calibrate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from study.cli.options import (
    EXIT_INCOMPLETE,
    LaunchedStudy,
    ResultsOption,
    TrackingOption,
    UntrackedOption,
    VersionOption,
    complete_study,
    parse_columns,
)


class Format(StrEnum):
    """Output formats of a comparison."""

    TABLE = "table"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"


def compare(
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY...",
            help="Launched studies: names or files.",
            autocompletion=complete_study,
        ),
    ],
    storage: ResultsOption = "studies",
    kind: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN=VALUE,...",
            help="Compare every arm with this one, e.g. features=mordred.",
        ),
    ] = None,
    contrasts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAMILY",
            help="Show the declared contrasts of this family, or 'all' (repeatable).",
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            "--tracking-uri",
            metavar="URI",
            help="Read the studies from this MLflow store instead of the ledger.",
        ),
    ] = None,
    version: VersionOption = None,
) -> None:
    """Compare the arms of one or several studies: paired intervals and verdicts."""
    from study.api.comparison import build_comparison
    from study.reporting.formatting import render_table

    compared = build_comparison(
        studies,
        storage=storage,
        tracking=tracking_uri,
        baseline=parse_columns(baseline) if baseline is not None else None,
        families=contrasts or [],
        version=version,
    )
    typer.echo(render_table(compared.frame, compared.columns, kind.value), nl=False)
    if kind is Format.TABLE:
        for line in compared.version_lines:
            typer.echo(line)
    if not compared.complete:
        raise typer.Exit(EXIT_INCOMPLETE)


def calibrate(
    pairs: Annotated[
        int, typer.Option(help="Simulated data sets; each gives one pair of every kind.", min=2)
    ] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the simulated data sets.", min=0)] = 0,
) -> None:
    """Measure error rates of verdicts and coverage of intervals on simulated arms."""
    from study.calibration.calibration import measure_calibration
    from study.calibration.text import format_calibration

    typer.echo(format_calibration(measure_calibration(pairs, seed)), nl=False)


def report(
    study: LaunchedStudy,
    storage: ResultsOption = "studies",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder to write the report to (default: STORAGE/STUDY/report).",
        ),
    ] = None,
    other_studies: Annotated[
        list[str] | None,
        typer.Option("--beside", metavar="STUDY", help="Show this study next to it (repeatable)."),
    ] = None,
    tracking_uri: TrackingOption = None,
    untracked: UntrackedOption = False,
    version: VersionOption = None,
) -> None:
    """Write the report of a study: an HTML page, Markdown, tables and figures."""
    from study.reporting.build import report_study
    from study.tracking.open import build_report_logger

    keep_report = None if untracked else build_report_logger(storage, tracking_uri)
    text, complete = report_study(study, storage, out, other_studies or [], keep_report, version)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)


class ScalingFormat(StrEnum):
    """Output formats of the scaling of a study."""

    TABLE = "table"
    MD = "md"
    CSV = "csv"
    JSON = "json"


def scaling(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="A launched study with several fractions.",
            autocompletion=complete_study,
        ),
    ],
    storage: ResultsOption = "studies",
    kind: Annotated[
        ScalingFormat, typer.Option("--format", help="Output format.")
    ] = ScalingFormat.TABLE,
    version: VersionOption = None,
) -> None:
    """Print learning curves, power laws and data efficiency across fractions."""
    from study.analysis.study_analysis import StudyAnalysis
    from study.config.loading import study_name
    from study.planning.contrasts import build_contrasts
    from study.reporting.tables import build_scaling_tables, format_scaling
    from study.results.study_results import load_snapshot
    from study.storage.storage import Storage

    name = study_name(study)
    results = load_snapshot(Storage(storage).subfolder(name), version)
    analysis = StudyAnalysis(results, build_contrasts(results.spec, results.plan))
    typer.echo(format_scaling(build_scaling_tables(analysis), kind.value), nl=False)
    machine_readable = kind in (ScalingFormat.CSV, ScalingFormat.JSON)
    for line in results.version_lines:
        typer.echo(line, err=machine_readable)  # a note must not break the parser of the output
