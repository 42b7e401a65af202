"""Build the report of a study: compose its sections, write HTML, Markdown, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from study.analysis.study_analysis import StudyAnalysis
from study.artifacts.study_folder import REPORT
from study.config.loading import study_name
from study.errors import InputError
from study.planning.contrasts import build_contrasts
from study.reporting.context import ReportContext
from study.reporting.document import Document
from study.reporting.formatting import render_table
from study.reporting.output import to_html, to_markdown
from study.reporting.sections import (
    arms,
    contrasts,
    cost,
    effects,
    embeddings,
    labels,
    operators,
    ownership,
    pairs,
    provenance,
    robustness,
    scaling,
    search,
    sparse,
    verdict,
)
from study.results.study_results import ResultSnapshot, load_snapshot
from study.storage.mirror import LocalMirror
from study.storage.storage import Storage, write_atomic

ORDER = (
    verdict,
    provenance,
    arms,
    contrasts,
    pairs,
    scaling,
    sparse,
    labels,
    effects,
    operators,
    ownership,
    embeddings,
    robustness,
    search,
    cost,
)
"""Sections in the order of the page."""


def compose_report(
    analysis: StudyAnalysis, others: Mapping[str, StudyAnalysis] | None = None
) -> Document:
    """Compose the report of a study.

    Parameters
    ----------
    analysis : StudyAnalysis
    others : mapping of str to StudyAnalysis, optional
        Other studies to compare with, by name, for example the same arms on another split.

    Raises
    ------
    InputError
        No trial has finished.
    """
    name = analysis.results.spec.name
    if not analysis.arms:
        raise InputError(f"study '{name}' has no finished trial to report; `study launch` runs it")
    context = ReportContext(analysis, others or {})
    built = [module.section(context) for module in ORDER]
    sections = tuple(section for section in built if section is not None)
    return Document(f"Study {name}", analysis.results.spec.description, sections)


FILE_LIST = "files.txt"
"""File with the names of a report's files; a later report deletes those it no longer has."""


def build_report_files(document: Document) -> Mapping[str, bytes]:
    """Return the content of every file of a report by name; the page comes first."""
    files = {
        "report.html": to_html(document).encode(),
        "report.md": to_markdown(document).encode(),
    }
    for table in document.tables:
        files[f"tables/{table.name}.csv"] = render_table(table.frame, table.columns, "csv").encode()
    for figure in document.figures:
        files[f"figures/{figure.name}.svg"] = figure.svg.encode()
        files[f"figures/{figure.name}.png"] = figure.png
    return files


def write_report(document: Document, folder: Path) -> tuple[Path, ...]:
    """Write the files of a report and return their paths, the page first.

    Files that an earlier report listed and this one does not have are deleted.
    """
    files = build_report_files(document)
    for name in set(_list_earlier_files(folder)) - files.keys():
        (folder / name).unlink(missing_ok=True)
    for name, data in files.items():
        write_atomic(folder / name, data)
    write_atomic(folder / FILE_LIST, "".join(f"{name}\n" for name in files).encode())
    return tuple(folder / name for name in files)


def _list_earlier_files(folder: Path) -> list[str]:
    """Return the names that an earlier report listed and that lie inside the folder."""
    file = folder / FILE_LIST
    names = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [name for name in names if name and ".." not in Path(name).parts and name[0] != "/"]


Keep = Callable[[ResultSnapshot, Path], list[str]]


def report_study(
    study: str,
    storage: str,
    out: Path | None,
    others: Sequence[str] = (),
    keep: Keep | None = None,
    version: str | None = None,
) -> tuple[str, bool]:
    """Write the report of a study; return text to print and whether the study is complete.

    Parameters
    ----------
    study : str
        Name of a launched study, or its study file.
    storage : str
        Folder of results.
    out : Path or None
        Folder of the report; default: ``report`` in the folder of the study.
    others : sequence of str
        Other studies of the same storage to compare with.
    keep : function, optional
        Logs the report's folder to the tracking page of the study and returns lines to print.
    version : str, optional
        Text that selects the version to report. Default, also for the other studies: the version
        with the most finished trials.

    Raises
    ------
    InputError
        A study does not exist, or none of its trials has finished.
    """
    analysis = _load_analysis(study, storage, version)
    other_analyses = [_load_analysis(other, storage) for other in others]
    document = compose_report(
        analysis, {other.results.spec.name: other for other in other_analyses}
    )
    mirror = LocalMirror(Storage(storage).subfolder(analysis.results.spec.name, REPORT))
    folder = out or mirror.root
    files = write_report(document, folder)
    if out is None:
        mirror.push(folder)
    lines = [
        f"report:  {files[0]}",
        f"{len(document.figures)} figures (SVG, PNG), {len(document.tables)} tables (CSV), and the "
        f"same content as Markdown in {folder}",
    ]
    results = analysis.results
    if keep is not None:
        lines += keep(results, folder)
    lines += results.version_lines
    if results.missing:
        lines.append(f"{results.missing} trials are missing; launch the study again to run them")
    return "\n".join(lines) + "\n", results.missing == 0


def _load_analysis(study: str, storage: str, version: str | None = None) -> StudyAnalysis:
    results = load_snapshot(Storage(storage).subfolder(study_name(study)), version)
    return StudyAnalysis(results, build_contrasts(results.spec, results.plan))
