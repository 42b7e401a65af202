"""A launch and a comparison as the command line sees them: values in, text out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from study.analysis.summary import CellSummary
from study.errors import InputError
from study.executor import Deferred, Executor, Inline
from study.launch import Pages, launch
from study.prepare import Prepared, lay_out, prepare
from study.progress import reporter
from study.reading import read_study
from study.record import StudyRecord, read_folder, summarise_results
from study.report.table import LEGEND, Kind, Row, caveats, comparison_rows, render
from study.spec import Run, StudySpec

if TYPE_CHECKING:
    from study.tracking import Tracker


def run_study(spec: StudySpec, *, ray: bool, mlflow: bool) -> bool:
    """Launch a study and print its table; return whether every trial has finished."""
    console = Console()
    study = prepare(spec)
    lay_out(study)
    pages = tracker_of(spec.run) if mlflow else None
    told = reporter(console)
    try:
        with closing(executor_of(spec.run, ray=ray)) as executor:
            record = launch(study, executor, pages, told)
    finally:
        told.close()
    print_record(record, console)
    _places(study, pages, console)
    return record.missing == 0


def compare_studies(
    sources: Sequence[str], storage: str, kind: Kind, *, tracking_uri: str | None
) -> tuple[str, bool]:
    """Return the comparison of studies as text, and whether all of them are complete.

    Parameters
    ----------
    sources : sequence of str
        Names of studies in the storage, study files or presets; experiments of the tracking
        store if one is given.
    storage : str
        Folder of results.
    kind : {'table', 'md', 'csv', 'json'}
    tracking_uri : str or None
        Read from there instead of the ledger.
    """
    found = [_summaries(source, storage, tracking_uri) for source in sources]
    for source, summaries in zip(sources, found, strict=True):
        if all(summary.repeats == 0 for summary in summaries):
            raise InputError(f"study '{source}' has no finished trial yet; `study launch` runs it")
    several = len(sources) > 1
    rows: list[Row] = []
    for source, summaries in zip(sources, found, strict=True):
        rows += comparison_rows(summaries, _name(source) if several else None)
    complete = all(summary.missing == 0 for summaries in found for summary in summaries)
    return render(rows, kind), complete


def _summaries(source: str, storage: str, tracking_uri: str | None) -> list[CellSummary]:
    root = Path(storage).resolve()
    if tracking_uri is None:
        return read_folder(root / _name(source)).summaries
    results = _open_tracker(tracking_uri, root).results(_name(source))
    return summarise_results(results) if results else []


def _name(source: str) -> str:
    """Return the study's name: given as it is, or read from its file."""
    return read_study(source).name if Path(source).is_file() else source


def print_record(record: StudyRecord, console: Console) -> None:
    """Print the table of a study, what to know before reading it, and what is missing."""
    data = record.inputs.dataset
    head = (
        f"\n{record.spec.name}: {len(data)} molecules x {len(data.label_names)} labels, "
        f"{record.spec.split.groups} groups, {record.plan.per_cell} trials an arm"
    )
    lines = [head, render(comparison_rows(record.summaries), "table").rstrip("\n"), LEGEND]
    lines += [*caveats(record.summaries), *_failure_lines(record)]
    if record.missing:
        lines.append(f"{record.missing} trials are missing; launch again to run them")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _failure_lines(record: StudyRecord) -> list[str]:
    """One line a cause, with the number of its trials and the first of them."""
    by_cause: dict[str, list[str]] = {}
    for failure in sorted(record.failures, key=lambda failure: failure.trial):
        by_cause.setdefault(failure.cause, []).append(failure.trial)
    return [
        f"failed: {len(trials)} trials, the first {trials[0]}: {cause}"
        for cause, trials in by_cause.items()
    ]


def executor_of(run: Run, *, ray: bool) -> Executor:
    """Return where the work of a run is done: a cluster that starts when it is needed, or here."""
    return Deferred(lambda: _ray(run)) if ray else Inline()


def _ray(run: Run) -> Executor:
    from study.cluster import RayExecutor

    return RayExecutor(run.address, cpus_per_task=run.cpus_per_trial)


def tracker_of(run: Run) -> Tracker:
    """Return the pages of a run: where it says, else a database in its storage."""
    root = Path(run.storage).resolve()
    return _open_tracker(run.tracking or f"sqlite:///{root / 'mlflow.db'}", root)


def _open_tracker(uri: str, root: Path) -> Tracker:
    from study.tracking import Tracker

    return Tracker(uri, str(root / "artifacts"))


def _places(study: Prepared, pages: Pages | None, console: Console) -> None:
    """Say where the results are, and the command that shows the pages."""
    lines = [f"results: {study.ledger.storage.url}"]
    uri = getattr(pages, "uri", None)
    if uri is not None:
        beside = Path(sys.executable).with_name("mlflow")
        program = "mlflow" if shutil.which("mlflow") or not beside.exists() else str(beside)
        lines.append(f"pages:   {program} ui --backend-store-uri {uri}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
