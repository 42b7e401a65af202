"""The command ``study report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from study.cli_options import EXIT_INCOMPLETE, TrackingOption, UntrackedOption


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
) -> None:
    """Write the report of a study: one HTML page, Markdown, tables and figures."""
    from study.report.running import report_study
    from study.tracked import keeper

    keep = None if untracked else keeper(storage, tracking_uri)
    text, complete = report_study(study, storage, out, beside or [], keep)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)
