"""The command ``study status``."""

from __future__ import annotations

from typing import Annotated

import typer

from study.cli_options import EXIT_INCOMPLETE


def status(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A launched study, by name or file.")
    ],
    storage: Annotated[str, typer.Option("--storage", help="Folder of results.")] = "studies",
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Print the tracebacks of failed trials.")
    ] = False,
) -> None:
    """Say how far a study is, who runs it, and why trials failed."""
    from study.standing import status_text

    text, complete = status_text(study, storage, tracebacks=traceback)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)
