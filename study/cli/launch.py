"""Commands that run a study or tell how it stands: plan, launch, status, sync, presets."""

from __future__ import annotations

from typing import Annotated

import typer

from study.cli.options import EXIT_INCOMPLETE, TrackingOption, VersionOption, WaitOption


def status(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A launched study, by name or file.")
    ],
    storage: Annotated[str, typer.Option("--storage", help="Folder of results.")] = "studies",
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Print the tracebacks of failed trials.")
    ] = False,
    version: VersionOption = None,
) -> None:
    """Say how far a study is, who runs it, and why trials failed."""
    from study.runner.status import format_status

    text, complete = format_status(study, storage, tracebacks=traceback, version=version)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)


def sync(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A launched study, by name or file.")
    ],
    storage: Annotated[str, typer.Option("--storage", help="Folder of results.")] = "studies",
    tracking_uri: TrackingOption = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Remove all its pages first, also those up to date.")
    ] = False,
    wait: WaitOption = False,
    version: VersionOption = None,
) -> None:
    """Bring the tracking pages of a study up to its ledger; twice changes nothing."""
    from study.runner.sync import sync_study

    text, complete = sync_study(study, storage, tracking_uri, anew=anew, wait=wait, version=version)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)
