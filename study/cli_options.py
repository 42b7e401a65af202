"""Arguments and options that several commands share."""

from __future__ import annotations

import json
from typing import Annotated

import typer

File = Annotated[str, typer.Argument(metavar="FILE", help="A study file (YAML) or a preset.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PLACE=VALUE", help="Override, e.g. training.epochs=20."),
]
StorageOption = Annotated[
    str | None, typer.Option("--storage", help="Folder of results and caches (run.storage).")
]
TrackingOption = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow store or server (run.tracking).")
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Ray cluster to run on ('auto' finds one).")
]
InlineOption = Annotated[bool, typer.Option("--no-ray", help="Run in this process, without Ray.")]
UntrackedOption = Annotated[bool, typer.Option("--no-mlflow", help="Write no tracking pages.")]


def placed(
    overrides: list[str] | None, storage: str | None, tracking: str | None, address: str | None
) -> list[str]:
    """Return overrides with those that have an option of their own."""
    given = {"run.storage": storage, "run.tracking": tracking, "run.address": address}
    # As JSON, which is YAML: a folder called 2024 stays text.
    more = [f"{place}={json.dumps(text)}" for place, text in given.items() if text is not None]
    return [*(overrides or []), *more]
