"""Commands that read results: compare, scaling, report, calibrate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from study.cli.options import EXIT_INCOMPLETE, TrackingOption, UntrackedOption, VersionOption


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
    from study.results.study_results import read_folder
    from study.storage.storage import Storage

    name = study_name(study)
    record = read_folder(Storage(storage).below(name), version)
    evidence = StudyAnalysis(record, build_contrasts(record.spec, record.plan))
    typer.echo(scaling_text(scaling_parts(evidence), kind.value), nl=False)
    for line in record.version_lines:
        typer.echo(line, err=kind in (ScalingFormat.CSV, ScalingFormat.JSON))
