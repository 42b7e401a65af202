"""Build the report of a study: compose its sections, write HTML, Markdown and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from study.analysis.study_analysis import StudyAnalysis
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
from study.results.study_results import StudyResults, load_results
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
"""Sections as they stand on the page."""


def compose_report(
    evidence: StudyAnalysis, beside: Mapping[str, StudyAnalysis] | None = None
) -> Document:
    """Make the report of a study.

    Parameters
    ----------
    evidence : StudyAnalysis
    beside : mapping of str to StudyAnalysis, optional
        Other studies by name, for example the same arms on another split.

    Raises
    ------
    InputError
        No trial has finished.
    """
    name = evidence.record.spec.name
    if not evidence.arms:
        raise InputError(f"study '{name}' has no finished trial to report; `study launch` runs it")
    material = ReportContext(evidence, beside or {})
    made = [each.section(material) for each in ORDER]
    found = tuple(section for section in made if section is not None)
    return Document(f"Study {name}", evidence.record.spec.description, found)


LISTED = "files.txt"
"""Names of the files of a report: those of an earlier one that are no more are removed."""


def report_files(document: Document) -> Mapping[str, bytes]:
    """Return every file of a report by its name in the folder; the page comes first."""
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
    """Write a report; return its files, the page first."""
    files = report_files(document)
    for name in set(_earlier(folder)) - files.keys():
        (folder / name).unlink(missing_ok=True)
    for name, data in files.items():
        write_atomic(folder / name, data)
    write_atomic(folder / LISTED, "".join(f"{name}\n" for name in files).encode())
    return tuple(folder / name for name in files)


def _earlier(folder: Path) -> list[str]:
    """Names that an earlier report listed, as long as they lie inside the folder."""
    file = folder / LISTED
    names = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [name for name in names if name and ".." not in Path(name).parts and name[0] != "/"]


Keep = Callable[[StudyResults, Path], list[str]]


def report_study(
    study: str,
    storage: str,
    out: Path | None,
    beside: Sequence[str] = (),
    keep: Keep | None = None,
    version: str | None = None,
) -> tuple[str, bool]:
    """Write the report of a study; return what to print, and whether the study is complete.

    Parameters
    ----------
    study : str
        Name of a launched study, or its file.
    storage : str
        Folder of results.
    out : Path or None
        Folder of the report; by default ``report`` in the folder of the study.
    beside : sequence of str
        Other studies of the same storage to set beside it.
    keep : function, optional
        Keeps the folder on the tracking page of the study; returns what to say of it.
    version : str, optional
        Words of the version that is reported; without it the one with most finished trials, as
        of every other study.

    Raises
    ------
    InputError
        A study is not there, or no trial of it has finished.
    """
    evidence = _evidence(study, storage, version)
    others = [_evidence(each, storage) for each in beside]
    document = compose_report(evidence, {each.record.spec.name: each for each in others})
    place = LocalMirror(Storage(storage).below(evidence.record.spec.name, "report"))
    folder = out or place.root
    written = write_report(document, folder)
    if out is None:
        place.push(folder)
    lines = [
        f"report:  {written[0]}",
        f"{len(document.figures)} figures (SVG, PNG), {len(document.tables)} tables (CSV), and the "
        f"same as Markdown in {folder}",
    ]
    if keep is not None:
        lines += keep(evidence.record, folder)
    lines += evidence.record.version_lines
    if evidence.record.missing:
        lines.append(f"{evidence.record.missing} trials are missing; launch again to run them")
    return "\n".join(lines) + "\n", evidence.record.missing == 0


def _evidence(study: str, storage: str, version: str | None = None) -> StudyAnalysis:
    name = study_name(study)
    record = load_results(Storage(storage).below(name), version)
    return StudyAnalysis(record, build_contrasts(record.spec, record.plan))
