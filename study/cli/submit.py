"""``study submit``: a study as a job of a running Ray cluster, or as a manifest for KubeRay."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from study.cli.options import (
    File,
    KeepOption,
    RerunOption,
    Set,
    StorageOption,
    TrackingOption,
    merge_overrides,
)

JOB_SERVER = "http://127.0.0.1:8265"


def submit(
    file: File,
    overrides: Set = None,
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    address: Annotated[str, typer.Option(help="Job server of the cluster.")] = JOB_SERVER,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME", help="Variable to take along, never shown (repeatable)."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Show what the job prints, to its end.")
    ] = True,
    extend: Annotated[
        bool, typer.Option("--extend", help="The file asks for more than the one launched before.")
    ] = False,
    rerun: RerunOption = False,
    keep: KeepOption = False,
    kuberay: Annotated[
        bool, typer.Option("--print-kuberay", help="Print a RayJob for Kubernetes; submit nothing.")
    ] = False,
) -> None:
    """Submit a study to a running cluster and follow it; where it runs already, follow it again."""
    from study.submission.bundle import build_job_bundle

    parcel = build_job_bundle(
        file, merge_overrides(overrides, storage, tracking_uri, None), names or []
    )
    given = {"--extend": extend, "--rerun": rerun, "--keep": keep}
    launch = [option for option, wanted in given.items() if wanted]
    if kuberay:
        from study.submission.kuberay import build_manifest

        typer.echo(build_manifest(parcel, launch), nl=False)
        return
    from study.submission.ray_jobs import submit_study

    code = submit_study(parcel, address, _show, launch=launch, follow=follow)
    if code:
        raise typer.Exit(code)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
