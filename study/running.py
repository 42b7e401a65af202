"""A launch and a comparison as the command line sees them: values in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from study.errors import InputError
from study.executor import Executor, Inline
from study.launch import Pages, launch
from study.prepare import Prepared, lay_out, prepare
from study.progress import Bars
from study.reading import read_study
from study.record import StudyRecord, read_record
from study.report.table import Kind, Row, comparison_rows, render
from study.spec import StudySpec

if TYPE_CHECKING:
    from study.tracking import Tracker


def run_study(spec: StudySpec, *, ray: bool, mlflow: bool) -> bool:
    """Launch a study and print its table; return whether every trial has finished."""
    console = Console()
    study = prepare(spec)
    lay_out(study)
    pages = _tracker(spec) if mlflow else None
    bars = Bars(console)
    try:
        with closing(_executor(spec, ray=ray)) as executor:
            record = launch(study, executor, pages, bars)
    finally:
        bars.close()
    print_record(record, console)
    _places(study, pages, console)
    return record.missing == 0


def compare_studies(
    sources: Sequence[str],
    overrides: Sequence[str],
    storage: str | None,
    kind: Kind,
    *,
    tracking_uri: str | None,
) -> tuple[str, bool]:
    """Return the comparison of studies as text, and whether all of them are complete."""
    rows: list[Row] = []
    complete = True
    for source in sources:
        more = [f"run.storage={storage}"] if storage is not None else []
        spec = read_study(source, [*overrides, *more])
        record = _stored(spec, tracking_uri)
        several = {"study": spec.name} if len(sources) > 1 else {}
        rows += [{**several, **row} for row in comparison_rows(record.summaries)]
        complete &= record.missing == 0
    return render(rows, kind), complete


def print_record(record: StudyRecord, console: Console) -> None:
    """Print the table of a study and what is missing of it."""
    data = record.inputs.dataset
    console.print(
        f"\n{record.spec.name}: {len(data)} molecules x {len(data.label_names)} labels, "
        f"{record.spec.split.groups} groups, {record.plan.per_cell} trials an arm",
        highlight=False,
    )
    text = render(comparison_rows(record.summaries), "table")
    console.print(text, markup=False, highlight=False, soft_wrap=True, end="")
    console.print(
        "gain: AUROC minus the MLP head's on the same folds (other operators: minus the first's); "
        "sparse: the fifth of the labels with the fewest positives.",
        highlight=False,
        soft_wrap=True,
    )
    for failure in record.failures:
        console.print(f"failed: {failure.trial}: {failure.cause}", markup=False, soft_wrap=True)
    if record.missing:
        console.print(f"{record.missing} trials are missing; launch again to run them")


def _stored(spec: StudySpec, tracking_uri: str | None) -> StudyRecord:
    study = prepare(spec)
    record = read_record(spec, study.plan, study.inputs, study.ledger)
    if tracking_uri is not None:
        found = _open_tracker(tracking_uri, spec).results(spec.name)
        ids = {study.inputs.trial_id(trial) for trial in study.plan.trials()}
        results = {result.id: result for result in found if result.id in ids}
        record = StudyRecord(spec, study.plan, study.inputs, results)
    if not record.results:
        raise InputError(f"study '{spec.name}' has no finished trial yet; run `study launch` first")
    return record


def _executor(spec: StudySpec, *, ray: bool) -> Executor:
    if not ray:
        return Inline()
    from study.cluster import RayExecutor

    return RayExecutor(spec.run.address, cpus_per_task=spec.run.cpus_per_trial)


def _tracker(spec: StudySpec) -> Tracker:
    root = Path(spec.run.storage).resolve()
    uri = spec.run.tracking or f"sqlite:///{root / 'mlflow.db'}"
    return _open_tracker(uri, spec)


def _open_tracker(uri: str, spec: StudySpec) -> Tracker:
    from study.tracking import Tracker

    return Tracker(uri, str(Path(spec.run.storage).resolve() / "artifacts"))


def _places(study: Prepared, pages: Pages | None, console: Console) -> None:
    console.print(f"results: {study.ledger.storage.url}", highlight=False, soft_wrap=True)
    uri = getattr(pages, "uri", None)
    if uri is not None:
        console.print(
            f"pages:   mlflow ui --backend-store-uri {uri}", highlight=False, soft_wrap=True
        )
