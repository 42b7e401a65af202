"""The command line of studies. Heavy imports wait for a command."""

from __future__ import annotations

import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.analysis import calibrate, report, scaling
from study.cli.encoders import embed, pretrain
from study.cli.launch import status, sync
from study.cli.options import (
    EXIT_BAD_INPUT,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    AddressOption,
    Commands,
    File,
    InlineOption,
    KeepOption,
    RerunOption,
    Set,
    StorageOption,
    TrackingOption,
    UntrackedOption,
    VersionOption,
    WaitOption,
    merge_overrides,
    parse_columns,
)
from study.cli.submit import submit
from study.errors import InputError, StudyError
from study.executors.environment import load_private_environment

if TYPE_CHECKING:
    from study.config.study import StudySpec

app = Commands(
    help="Paired, controlled ablation studies of multimodal odor models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = Commands(help="Odor tables: fetch the archives, audit a table and its split.")
app.add_typer(data, name="data", no_args_is_help=True)


class Format(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    MD = "md"
    CSV = "csv"
    JSON = "json"
    LATEX = "latex"


@app.command()
def plan(
    file: File,
    overrides: Set = None,
    storage: StorageOption = None,
    pilot: Annotated[
        bool, typer.Option("--pilot", help="Measure the time: train two arms for two epochs.")
    ] = False,
) -> None:
    """Show what a study would run and could tell: arms, fits, cost, smallest effects."""
    from study.preview.text import format_plan

    spec, times = _read(file, overrides, storage), None
    if pilot:
        from study.preview.pilot import run_pilot

        times = run_pilot(spec)
    typer.echo(format_plan(spec, times), nl=False)


@app.command()
def launch(
    file: File,
    overrides: Set = None,
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    address: AddressOption = None,
    inline: InlineOption = False,
    untracked: UntrackedOption = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="The file asks for more than the one launched before.")
    ] = False,
    wait: WaitOption = False,
    rerun: RerunOption = False,
    keep: KeepOption = False,
) -> None:
    """Run what is missing of a study, then print its comparison table."""
    from study.preview.text import format_rerun
    from study.runner.launcher import LaunchOptions, OtherVersions, run_study

    if rerun and keep:
        raise InputError("--rerun trains anew what --keep leaves as it is; give one of them")
    chosen = {(True, False): OtherVersions.RERUN, (False, True): OtherVersions.KEEP}
    others = chosen.get((rerun, keep), OtherVersions.REFUSE)
    spec = _read(file, overrides, storage, tracking_uri, address)
    asked = LaunchOptions(not inline, not untracked, extend, wait, others)
    complete = run_study(spec, asked, format_rerun)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)


@app.command()
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


@data.command()
def fetch(
    folder: Annotated[Path, typer.Argument(help="Where the archives go.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Fetch these archives only (repeatable).")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Another place that serves the same files.")
    ] = None,
) -> None:
    """Download the public odor archives, every file checked by its sha256."""
    from study.cli.data import format_fetch

    typer.echo(format_fetch(folder, only or [], base_url), nl=False)


@data.command()
def audit(file: File, overrides: Set = None, storage: StorageOption = None) -> None:
    """Show how a study's table was curated and what its split leaks."""
    from study.cli.data import format_audit

    typer.echo(format_audit(_read(file, overrides, storage)), nl=False)


@app.command()
def presets() -> None:
    """List the files that ship with the package: studies, and pretrainings."""
    from study.config.loading import preset_names, read_preset_note
    from study.pretraining.config import PRESETS

    for name in preset_names():
        typer.echo(f"{name:<20}{read_preset_note(name)}")
    typer.echo("\nfor `study pretrain`:")
    for name in preset_names(PRESETS):
        typer.echo(f"{name:<20}{read_preset_note(name, PRESETS)}")


for command in (submit, status, sync, report, scaling, calibrate, pretrain, embed):
    app.command()(command)


def _read(
    file: str,
    overrides: list[str] | None,
    storage: str | None,
    tracking: str | None = None,
    address: str | None = None,
) -> StudySpec:
    from study.config.loading import read_study

    return read_study(file, merge_overrides(overrides, storage, tracking, address))


def main() -> None:
    """Run the command line; named errors go to standard error without a traceback.

    Exit codes: 0 every trial finished; 2 bad input; 3 some trial failed or is missing;
    130 interrupted.
    """
    load_private_environment()
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        app(standalone_mode=True)
    except InputError as error:
        _stop(error, EXIT_BAD_INPUT)
    except StudyError as error:
        _stop(error, EXIT_INCOMPLETE)
    except ValueError as error:
        if not _is_named(error):
            raise
        _stop(error, EXIT_BAD_INPUT)
    except SystemExit as stop:  # typer has turned the KeyboardInterrupt into this
        if stop.code == EXIT_INTERRUPTED:
            typer.echo("interrupted: what has finished is kept; the same command goes on", err=True)
        raise


def _is_named(error: ValueError) -> bool:
    """Whether an error is one that the packages below name (they do not know `StudyError`)."""
    return type(error).__module__.split(".")[0] in ("modalities", "fusion")


def _stop(error: Exception, code: int) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(code)
