"""The ``study`` command. Heavy libraries are imported only by the command that needs them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from study.cli.analysis import calibrate, compare, report, scaling
from study.cli.data import audit, fetch
from study.cli.encoders import embed, pretrain
from study.cli.launch import launch, plan, presets, status, sync
from study.cli.manage import delete, list_, rename, schema, show
from study.cli.options import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED, Commands
from study.cli.submit import submit
from study.errors import InputError, StudyError
from study.executors.environment import load_private_environment

_HELP = "Run controlled ablation studies of multimodal odor models."
app = Commands(no_args_is_help=True, pretty_exceptions_enable=False)
data = Commands(help="Download odor archives; audit a data set and its split.")

PANELS: Mapping[str, tuple[Callable[..., None], ...]] = {
    "Run": (plan, launch, status, submit, sync),
    "Read results": (compare, report, scaling, calibrate),
    "Manage studies": (list_, show, rename, delete),
    "Encoders": (pretrain, embed),
    "Files and data": (presets, schema),
}
"""The commands, by the panel of the help text that lists them."""
for panel, commands in PANELS.items():
    for command in commands:
        app.command(command.__name__.rstrip("_"), rich_help_panel=panel)(command)
for command in (fetch, audit):
    data.command()(command)
app.add_typer(data, name="data", no_args_is_help=True, rich_help_panel="Files and data")

LIBRARIES = ("ray", "torch", "rdkit", "mlflow")
"""Libraries whose versions ``study --version`` prints: results and pages depend on them."""


def _print_versions(requested: bool) -> None:
    if requested:
        typer.echo(f"olfaction-study {version('olfaction-study')}")
        for library in LIBRARIES:
            typer.echo(f"{library} {_read_version(library)}")
        raise typer.Exit


def _read_version(library: str) -> str:
    """Return the version of an installed library, which is not imported for that."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "is not installed"


@app.callback(help=_HELP)
def _main_options(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the versions of this package and of its main libraries, and exit.",
            callback=_print_versions,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command."""


def main() -> None:
    """Run the command line; expected errors are printed without a traceback.

    Exit codes: 0 every trial finished; 2 bad input; 3 some trial failed or is missing;
    130 interrupted.
    """
    load_private_environment()
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        app(standalone_mode=True)
    except InputError as error:
        _exit_with_error(error, EXIT_BAD_INPUT)
    except StudyError as error:
        _exit_with_error(error, EXIT_INCOMPLETE)
    except ValueError as error:
        if not _is_package_error(error):
            raise
        _exit_with_error(error, EXIT_BAD_INPUT)
    except SystemExit as stop:  # typer has turned the KeyboardInterrupt into this
        if stop.code == EXIT_INTERRUPTED:
            typer.echo(
                "interrupted: finished work is kept; run the same command again to continue",
                err=True,
            )
        raise


def _is_package_error(error: ValueError) -> bool:
    """Return whether an error is of `modalities` or `fusion`, which do not know `StudyError`."""
    return type(error).__module__.split(".")[0] in ("modalities", "fusion")


def _exit_with_error(error: Exception, code: int) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(code)
