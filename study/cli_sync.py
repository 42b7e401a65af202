"""The command ``study sync``."""

from __future__ import annotations

from typing import Annotated

import typer

from study.cli_options import EXIT_INCOMPLETE, TrackingOption, WaitOption


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
) -> None:
    """Bring the tracking pages of a study up to its ledger; twice changes nothing."""
    from study.syncing import sync_study

    text, complete = sync_study(study, storage, tracking_uri, anew=anew, wait=wait)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)
