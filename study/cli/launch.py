"""Commands that run a study or show its state: plan, launch, status, sync, presets."""

from __future__ import annotations

from typing import Annotated

import typer

from study.cli.options import (
    EXIT_INCOMPLETE,
    AddressOption,
    ExtendOption,
    File,
    InlineOption,
    KeepOption,
    LaunchedStudy,
    RerunOption,
    ResultsOption,
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
        bool, typer.Option("--pilot", help="Train two arms for two epochs to measure the time.")
    ] = False,
) -> None:
    """Show what a study will run: arms, trials, cost, detectable effects."""
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
    extend: ExtendOption = False,
    wait: WaitOption = False,
    rerun: RerunOption = False,
    keep: KeepOption = False,
) -> None:
    """Run the unfinished trials of a study and print its comparison table."""
    from study.preview.text import format_rerun
    from study.runner.launcher import LaunchOptions, OtherVersions, run_study

    if rerun and keep:
        raise InputError("--rerun trains again what --keep leaves as it is; give one of them")
    policies = {(True, False): OtherVersions.RERUN, (False, True): OtherVersions.KEEP}
    policy = policies.get((rerun, keep), OtherVersions.REFUSE)
    spec = read_spec(file, overrides, storage, tracking_uri, address)
    options = LaunchOptions(not inline, not untracked, extend, wait, policy)
    complete = run_study(spec, options, format_rerun)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)


def status(
    study: LaunchedStudy,
    storage: ResultsOption = "studies",
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Print the tracebacks of failed trials.")
    ] = False,
    version: VersionOption = None,
) -> None:
    """Show the progress of a study, who runs it, and why trials failed."""
    from study.runner.status import format_status

    text, complete = format_status(study, storage, tracebacks=traceback, version=version)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)


def sync(
    study: LaunchedStudy,
    storage: ResultsOption = "studies",
    tracking_uri: TrackingOption = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Delete all MLflow runs of the study first.")
    ] = False,
    wait: WaitOption = False,
    version: VersionOption = None,
) -> None:
    """Update the MLflow runs of a study from its ledger."""
    from study.runner.sync import sync_study

    text, complete = sync_study(study, storage, tracking_uri, anew=anew, wait=wait, version=version)
    typer.echo(text, nl=False)
    if not complete:
        raise typer.Exit(EXIT_INCOMPLETE)


def presets() -> None:
    """List the study and pretraining files that ship with the package."""
    from study.config.loading import preset_names, read_preset_note
    from study.pretraining.config import PRESETS

    for name in preset_names():
        typer.echo(f"{name:<20}{read_preset_note(name)}")
    typer.echo("\nfor `study pretrain`:")
    for name in preset_names(PRESETS):
        typer.echo(f"{name:<20}{read_preset_note(name, PRESETS)}")
