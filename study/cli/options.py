"""Arguments and options that several commands share."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.errors import InputError
from study.executors.logs import level, log_to_stderr

if TYPE_CHECKING:
    from study.config.study import StudySpec

EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 2, 3, 130
"""Exit codes; 0 means that every trial finished."""


def complete_preset(incomplete: str) -> list[str]:
    """Return the presets that begin with a text; if there is none, the shell completes files."""
    from study.config.loading import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def complete_pretraining(incomplete: str) -> list[str]:
    """Return the pretraining presets that begin with a text."""
    from study.config.loading import PRESETS, preset_names

    folder = PRESETS / "pretraining"
    return [name for name in preset_names(folder) if name.startswith(incomplete)]


def complete_study(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the launched studies of the storage that begin with a text; of folders only."""
    from study.artifacts.study_folder import NAME

    files = Path(ctx.params.get("storage") or "studies").glob(f"*/{NAME}")
    names = (file.parent.name for file in files)
    return sorted(name for name in names if name.startswith(incomplete))


File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A YAML file, or the name of a preset.",
        autocompletion=complete_preset,
    ),
]
LaunchedStudy = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="A launched study: its name or its file.",
        autocompletion=complete_study,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a value, e.g. training.epochs=20 (repeatable).",
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="FOLDER",
        help="Folder of results, or s3://bucket/folder (overrides run.storage).",
    ),
]
ResultsOption = Annotated[
    str,
    typer.Option("--storage", metavar="FOLDER", help="Folder of results, or s3://bucket/folder."),
]
TrackingOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri", metavar="URI", help="MLflow store or server (overrides run.tracking)."
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDRESS", help="Ray cluster to run on ('auto': find a running one)."
    ),
]
InlineOption = Annotated[
    bool, typer.Option("--no-ray", help="Run everything in this process, without Ray.")
]
ExtendOption = Annotated[
    bool, typer.Option("--extend", help="Accept arms, repeats, ... added since the last launch.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="If another launch is running, wait until it ends.")
]
RerunOption = Annotated[
    bool, typer.Option("--rerun", help="Train again what another code version finished.")
]
KeepOption = Annotated[
    bool, typer.Option("--keep", help="Keep results of other code versions; train the rest.")
]
VersionOption = Annotated[
    str | None,
    typer.Option(
        "--version",
        metavar="VERSION",
        help="Read results of this code version, e.g. 4 (default: that with most trials).",
    ),
]
UntrackedOption = Annotated[bool, typer.Option("--no-mlflow", help="Do not write to MLflow.")]

VerboseOption = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        metavar="",
        help="Log progress to standard error; -vv logs details.",
    ),
]
_LEVELS = ("", "INFO", "DEBUG")


class Commands(typer.Typer):
    """A typer application whose commands all take ``-v``."""

    def command(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:  # noqa: ANN401 (as typer's)
        """Return the decorator that makes a function a command."""
        register = super().command(*args, **kwargs)
        return lambda function: register(_add_verbose_option(function))


def _add_verbose_option(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option ``-v``.

    The option is handled here; a function that needs its value too has a parameter `verbose`.
    """
    signature = inspect.signature(command, eval_str=True)
    passes_on = "verbose" in signature.parameters

    @wraps(command)
    def run(*args: object, verbose: int = 0, **kwargs: object) -> None:
        log_to_stderr(_LEVELS[min(verbose, 2)] or level())
        if passes_on:
            kwargs["verbose"] = verbose
        command(*args, **kwargs)

    option = inspect.Parameter(
        "verbose", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=VerboseOption
    )
    parameters = {**signature.parameters, "verbose": option}
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # typer reads it there
        parameters=list(parameters.values())
    )
    run.__annotations__ = {**command.__annotations__, "verbose": VerboseOption}
    return run


def merge_overrides(
    overrides: list[str] | None, storage: str | None, tracking: str | None, address: str | None
) -> list[str]:
    """Return the overrides of ``--set`` and of the options for single keys, as ``key=value``."""
    options = {"run.storage": storage, "run.tracking": tracking, "run.address": address}
    # JSON is YAML: quoted, a folder called 2024 stays text.
    from_options = [
        f"{key}={json.dumps(text)}" for key, text in options.items() if text is not None
    ]
    return [*(overrides or []), *from_options]


def read_spec(
    file: str,
    overrides: list[str] | None,
    storage: str | None,
    tracking: str | None = None,
    address: str | None = None,
) -> StudySpec:
    """Read a study file or preset with the overrides of the command line.

    Raises
    ------
    InputError
        The file is missing or has mistakes; the message lists them all.
    """
    from study.config.loading import read_study

    return read_study(file, merge_overrides(overrides, storage, tracking, address))


def parse_columns(text: str) -> dict[str, str]:
    """Parse ``column=value,column=value`` into a mapping.

    A comma inside parentheses is part of a value: ``fusion=parallel(stage=label, combine=mean)``.

    Raises
    ------
    InputError
        The text does not have this form.
    """
    parts = re.split(r",(?![^()]*\))", text)
    pairs = [tuple(part.strip().partition("=")) for part in parts]
    wrong = [
        part
        for part, (_, equals, value) in zip(parts, pairs, strict=True)
        if not (equals and value)
    ]
    if wrong:
        raise InputError(
            f"--baseline takes column=value,column=value, for example "
            f"features=mordred,technique=single, not '{wrong[0]}'"
        )
    return {column: value for column, _, value in pairs}
