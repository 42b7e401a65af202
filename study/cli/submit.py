"""``study submit``: run a study as a job of a Ray cluster, or print its manifest for KubeRay."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from study.cli.options import (
    ExtendOption,
    File,
    KeepOption,
    RerunOption,
    Set,
    StorageOption,
    TrackingOption,
    VerboseOption,
    merge_overrides,
)

JOB_SERVER = "http://127.0.0.1:8265"


def submit(
    file: File,
    overrides: Set = None,
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    address: Annotated[
        str, typer.Option(metavar="URL", help="Ray job server of the cluster.")
    ] = JOB_SERVER,
    env_names: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME", help="Send this environment variable along (repeatable)."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Print the job's output until it ends.")
    ] = True,
    extend: ExtendOption = False,
    rerun: RerunOption = False,
    keep: KeepOption = False,
    kuberay: Annotated[
        bool,
        typer.Option("--print-kuberay", help="Print a RayJob manifest for Kubernetes and exit."),
    ] = False,
    verbose: VerboseOption = 0,
) -> None:
    """Submit a study to a Ray cluster, or rejoin it, and follow its output."""
    from study.submission.bundle import build_job_bundle

    bundle = build_job_bundle(
        file, merge_overrides(overrides, storage, tracking_uri, None), env_names or []
    )
    flags = {"--extend": extend, "--rerun": rerun, "--keep": keep}
    launch_options = [flag for flag, wanted in flags.items() if wanted]
    if verbose:
        launch_options.append(f"-{'v' * verbose}")
    if kuberay:
        from study.submission.kuberay import build_manifest

        typer.echo(build_manifest(bundle, launch_options), nl=False)
        return
    from study.submission.ray_jobs import submit_study

    code = submit_study(bundle, address, _print_now, launch=launch_options, follow=follow)
    if code:
        raise typer.Exit(code)


def _print_now(text: str) -> None:
    """Print without waiting for the end of a line."""
    sys.stdout.write(text)
    sys.stdout.flush()
