"""A launch as the command line sees it: a checked study in, a table and an exit code out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.console import Console

from study.analysis.comparison import compare
from study.analysis.pool import Pool, pool_of
from study.declared import contrasts_of
from study.errors import InputError, StorageError
from study.executors import executor_of
from study.extending import check_same
from study.failing import failure_lines
from study.launch import launch
from study.lock import StudyLock
from study.parameters import unequal_lines
from study.prepare import Prepared, lay_out, prepare
from study.progress import Reporter, Together, reporter
from study.projector import Pages
from study.record import StudyRecord
from study.report.rendering import render
from study.report.table import COLUMNS, caveats, comparison_frame
from study.spec import StudySpec
from study.state import state_file
from study.stopping import Stop
from study.tracked import tracker_of


@dataclass(frozen=True)
class Asked:
    """How `study launch` is to run.

    Attributes
    ----------
    ray, mlflow : bool
        On Ray; with tracking pages.
    extend : bool
        The file may ask for more than the one launched before.
    wait : bool
        Wait while another launch of the study runs.
    """

    ray: bool = True
    mlflow: bool = True
    extend: bool = False
    wait: bool = False


def run_study(spec: StudySpec, asked: Asked) -> bool:
    """Launch a study and print its table; return whether every trial has finished.

    Raises
    ------
    InputError
        Something was asked that cannot be; nothing was run.
    LockedError
        Another launch of the study runs.
    KeyboardInterrupt
        Ctrl-C; everything that had finished is kept.
    """
    console = Console()
    screen = reporter(console)
    study = _prepared(spec, screen.note)
    pages = tracker_of(study.spec.run) if asked.mlflow else None
    folder = study.home
    folder.prepare()
    try:
        with (
            StudyLock(folder).held(wait=asked.wait, note=screen.note) as lock,
            closing(state_file(folder)) as state,  # only the owner writes how far it is
        ):
            record = _launch(study, asked, pages, Together(screen, state), lock)
    finally:
        screen.close()
    print_record(record, console)
    _places(study, pages, console)
    return record.missing == 0


def _prepared(spec: StudySpec, note: Callable[[str], None]) -> Prepared:
    """Prepare a study; a storage that cannot be written is bad input as long as nothing ran."""
    try:
        return prepare(spec, note)
    except StorageError as error:
        raise InputError(
            f"{error}; or give another folder with 'run.storage' or --storage"
        ) from error


def _launch(
    study: Prepared, asked: Asked, pages: Pages | None, told: Reporter, lock: StudyLock
) -> StudyRecord:
    """Launch under the lock of the study."""
    changed = check_same(study, extend=asked.extend)
    if changed:
        told.note(changed)
    for said in lay_out(study):
        told.note(said)
    stop = Stop(told.note, lambda: lock.lost)
    executor = executor_of(study.spec.run, ray=asked.ray, check=stop.check)
    with stop.listening(), closing(executor):
        return launch(study, executor, pages, told, stop)


def print_record(record: StudyRecord, console: Console) -> None:
    """Print the table of a study, what to know before reading it, and what is missing."""
    data = record.inputs.dataset
    head = (
        f"\n{record.spec.name}: {len(data)} molecules x {len(data.label_names)} labels, "
        f"{record.spec.split.groups} groups, {record.plan.per_cell} trials an arm"
    )
    pool = pool_of(record)
    compared = compare([pool])
    lines = [head, render(comparison_frame(compared), COLUMNS, "table").rstrip("\n")]
    lines += [*caveats(compared), *_weight_lines(pool), *failure_lines(record.failures)]
    if record.missing:
        lines.append(f"{record.missing} trials are missing; launch again to run them")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _weight_lines(pool: Pool) -> list[str]:
    """Say which compared arms differ by more than 2 % in trained weights."""
    weights = {
        cell_id: fmean(result.counts["parameters"] for result in results)
        for cell_id, results in pool.results.items()
        if results
    }
    return unequal_lines(contrasts_of(pool.spec, pool.plan), weights)


def _places(study: Prepared, pages: Pages | None, console: Console) -> None:
    """Say where the results are, and the command that shows the pages."""
    lines = [f"results: {study.ledger.storage.url}"]
    uri = getattr(pages, "uri", None)
    if uri is not None and uri.startswith("http"):
        lines.append(f"pages:   {uri}")
    elif uri is not None:
        beside = Path(sys.executable).with_name("mlflow")
        program = "mlflow" if shutil.which("mlflow") or not beside.exists() else str(beside)
        lines.append(f"pages:   {program} ui --backend-store-uri {uri}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
