"""Commands that run a study or tell how it stands: plan, launch, status, sync, presets."""

from __future__ import annotations

from typing import Annotated

import typer

from study.cli.options import (
    EXIT_INCOMPLETE,
    AddressOption,
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
    read_spec,
)
from study.errors import InputError


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

    spec, times = read_spec(file, overrides, storage), None
    if pilot:
        from study.preview.pilot import run_pilot

        times = run_pilot(spec)
    typer.echo(format_plan(spec, times), nl=False)


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
    spec = read_spec(file, overrides, storage, tracking_uri, address)
    asked = LaunchOptions(not inline, not untracked, extend, wait, others)
    complete = run_study(spec, asked, format_rerun)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)


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


def presets() -> None:
    """List the files that ship with the package: studies, and pretrainings."""
    from study.config.loading import preset_names, read_preset_note
    from study.pretraining.config import PRESETS

    for name in preset_names():
        typer.echo(f"{name:<20}{read_preset_note(name)}")
    typer.echo("\nfor `study pretrain`:")
    for name in preset_names(PRESETS):
        typer.echo(f"{name:<20}{read_preset_note(name, PRESETS)}")
