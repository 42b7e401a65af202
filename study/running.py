"""A launch and a comparison as the command line sees them: values in, text out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from study.analysis.comparison import Baseline, compare
from study.analysis.evidence import Evidence, Finding
from study.analysis.pool import Pool, pool_of
from study.declared import contrasts_of
from study.errors import InputError
from study.executor import Deferred, Executor, Inline
from study.launch import Pages, launch
from study.matching import weight_lines
from study.prepare import Prepared, lay_out, prepare
from study.progress import reporter
from study.reading import read_study
from study.record import StudyRecord, read_folder
from study.report.contrast_table import FINDING_COLUMNS, finding_rows
from study.report.rendering import Kind, render
from study.report.table import COLUMNS, caveats, comparison_rows
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
    for line in weight_lines(contrasts_of(study.spec, study.plan), study.plan, study.inputs):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    _places(study, pages, console)
    return record.missing == 0


@dataclass(frozen=True)
class Comparison:
    """What `study compare` was asked.

    Attributes
    ----------
    sources : sequence of str
        Names of studies in the storage, study files or presets; experiments of the tracking
        store if one is given.
    storage : str
        Folder of results.
    tracking : str or None
        Read from there instead of the ledger.
    baseline : mapping of column to word, optional
        The one arm that all others are compared with.
    families : sequence of str
        Families of declared contrasts to show in place of the arms; ``all`` for every one.
    """

    sources: Sequence[str]
    storage: str
    tracking: str | None = None
    baseline: Baseline | None = None
    families: Sequence[str] = ()


def compare_studies(asked: Comparison, kind: Kind) -> tuple[str, bool]:
    """Return a comparison as text, and whether all its studies are complete.

    Raises
    ------
    InputError
        A study has no finished trial, the baseline is no arm, a family no family.
    """
    pools = [_pool(source, asked) for source in asked.sources]
    for pool in pools:
        if not any(pool.results.values()):
            raise InputError(
                f"study '{pool.name}' has no finished trial yet; `study launch` runs it"
            )
    complete = all(len(pool.keys(c)) == pool.plan.per_cell for pool in pools for c in pool.cells)
    if asked.families:
        named = {source: _name(source) if len(pools) > 1 else None for source in asked.sources}
        rows = [
            row
            for source, name in named.items()
            for row in finding_rows(_findings(source, asked), name)
        ]
        return render(rows, FINDING_COLUMNS, kind), complete
    rows = comparison_rows(compare(pools, asked.baseline), studies=len(pools) > 1)
    return render(rows, COLUMNS, kind), complete


def _pool(source: str, asked: Comparison) -> Pool:
    root = Path(asked.storage).resolve()
    if asked.tracking is None:
        return pool_of(read_folder(root / _name(source)))
    return _open_tracker(asked.tracking, root).pool(_name(source))


def _findings(source: str, asked: Comparison) -> tuple[Finding, ...]:
    """Return the findings of the families asked for."""
    if asked.tracking is not None:
        raise InputError("declared contrasts are read from the ledger: leave --tracking-uri out")
    record = read_folder(Path(asked.storage).resolve() / _name(source))
    declared = contrasts_of(record.spec, record.plan)
    families = list(dict.fromkeys(contrast.family for contrast in declared))
    unknown = [name for name in asked.families if name not in (*families, "all")]
    if unknown:
        raise InputError(
            f"study '{record.spec.name}' has no contrasts '{unknown[0]}'; "
            f"allowed: all, {', '.join(families)}"
        )
    chosen = [c for c in declared if "all" in asked.families or c.family in asked.families]
    return Evidence(record, tuple(chosen)).findings


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
    compared = compare([pool_of(record)])
    lines = [head, render(comparison_rows(compared), COLUMNS, "table").rstrip("\n")]
    lines += [*caveats(compared), *_failure_lines(record)]
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


def keeper(storage: str, tracking: str | None) -> Callable[[StudySpec, Path], list[str]]:
    """Return what keeps a report on the tracking page of its study, if it has one."""

    def keep(spec: StudySpec, folder: Path) -> list[str]:
        tracker = _existing_tracker(spec.run, storage, tracking)
        if tracker is None:
            return []
        tracker.report(spec.name, folder)
        return [f"kept:    on the page of '{spec.name}' in {tracker.uri}"]

    return keep


def _existing_tracker(run: Run, storage: str, tracking: str | None) -> Tracker | None:
    """Return the pages where a study is shown already: those named, else its storage's."""
    root = Path(storage).resolve()
    named = tracking or run.tracking
    if named is None and not (root / "mlflow.db").is_file():
        return None
    return _open_tracker(named or f"sqlite:///{root / 'mlflow.db'}", root)


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
