"""The ``study`` command. Heavy libraries are imported only by the command that needs them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import typer

from study.cli.analysis import calibrate, compare, report, scaling
from study.cli.data import audit, fetch
from study.cli.encoders import embed, pretrain
from study.cli.launch import launch, plan, presets, status, sync
from study.cli.options import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED, Commands
from study.cli.submit import submit
from study.errors import InputError, StudyError
from study.executors.environment import load_private_environment

app = Commands(
    help="Run controlled ablation studies of multimodal odor models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = Commands(help="Download odor archives; audit a data set and its split.")
app.add_typer(data, name="data", no_args_is_help=True)


_COMMANDS: tuple[Callable[..., None], ...] = (
    plan,
    launch,
    compare,
    presets,
    submit,
    status,
    sync,
    report,
    scaling,
    calibrate,
    pretrain,
    embed,
)
_DATA_COMMANDS: tuple[Callable[..., None], ...] = (fetch, audit)
for command in _COMMANDS:
    app.command()(command)
for command in _DATA_COMMANDS:
    data.command()(command)


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
