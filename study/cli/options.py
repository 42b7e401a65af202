"""Arguments and options that several commands share."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.errors import InputError
from study.executors.logs import level, log_to_stderr

if TYPE_CHECKING:
    from study.config.study import StudySpec

EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 2, 3, 130
"""Exit codes; 0 means that every trial finished."""

File = Annotated[str, typer.Argument(metavar="FILE", help="A study file (YAML) or a preset.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PLACE=VALUE", help="Override, e.g. training.epochs=20."),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage", help="Folder of results and caches, or s3://bucket/folder (run.storage)."
    ),
]
TrackingOption = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow store or server (run.tracking).")
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Ray cluster to run on ('auto' finds one).")
]
InlineOption = Annotated[bool, typer.Option("--no-ray", help="Run in this process, without Ray.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait while another launch runs.")]
RerunOption = Annotated[
    bool, typer.Option("--rerun", help="Train anew what another version has finished.")
]
KeepOption = Annotated[
    bool, typer.Option("--keep", help="Train no arm that another version has finished.")
]
VersionOption = Annotated[
    str | None,
    typer.Option(
        "--version",
        metavar="VERSION",
        help="Results of this version (e.g. 4, the training code), not that with most trials.",
    ),
]
UntrackedOption = Annotated[bool, typer.Option("--no-mlflow", help="Write no tracking pages.")]

VerboseOption = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        help="Log to standard error what is done; -vv: details.",
    ),
]
_LEVELS = ("", "INFO", "DEBUG")


class Commands(typer.Typer):
    """Commands that all take ``-v``."""

    def command(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:  # noqa: ANN401 (as typer's)
        """Return the decorator that makes a function a command."""
        add = super().command(*args, **kwargs)
        return lambda function: add(_verbose(function))


def _verbose(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option ``-v``, which the function itself does not see."""

    @wraps(command)
    def run(*args: object, verbose: int = 0, **kwargs: object) -> None:
        log_to_stderr(_LEVELS[min(verbose, 2)] or level())
        command(*args, **kwargs)

    plain, kind = inspect.signature(command, eval_str=True), inspect.Parameter.KEYWORD_ONLY
    option = inspect.Parameter("verbose", kind, default=0, annotation=VerboseOption)
    run.__signature__ = plain.replace(  # type: ignore[attr-defined]  # typer reads it there
        parameters=[*plain.parameters.values(), option]
    )
    run.__annotations__ = {**command.__annotations__, "verbose": VerboseOption}
    return run


def merge_overrides(
    overrides: list[str] | None, storage: str | None, tracking: str | None, address: str | None
) -> list[str]:
    """Return overrides with those that have an option of their own."""
    given = {"run.storage": storage, "run.tracking": tracking, "run.address": address}
    # As JSON, which is YAML: a folder called 2024 stays text.
    more = [f"{place}={json.dumps(text)}" for place, text in given.items() if text is not None]
    return [*(overrides or []), *more]


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
        The file is missing or wrong; every mistake is named.
    """
    from study.config.loading import read_study

    return read_study(file, merge_overrides(overrides, storage, tracking, address))


def parse_columns(text: str) -> dict[str, str]:
    """Return ``column=word,column=word`` as a mapping.

    A comma inside parentheses belongs to a word: ``fusion=parallel(stage=label, combine=mean)``.

    Raises
    ------
    InputError
        It is not written so.
    """
    parts = re.split(r",(?![^()]*\))", text)
    pairs = [tuple(part.strip().partition("=")) for part in parts]
    wrong = [
        part for part, (_, equals, word) in zip(parts, pairs, strict=True) if not (equals and word)
    ]
    if wrong:
        raise InputError(
            f"--baseline takes column=word,column=word, for example "
            f"features=mordred,technique=single, not '{wrong[0]}'"
        )
    return {column: word for column, _, word in pairs}
