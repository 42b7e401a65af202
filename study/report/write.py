"""A report on disk: page, Markdown, tables, figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from study.report.document import Document
from study.report.html import to_html
from study.report.markdown import to_markdown
from study.report.rendering import render
from study.storage import write_atomic

LISTED = "files.txt"
"""Names of the files of a report: those of an earlier one that are no more are removed."""


def files_of(document: Document) -> Mapping[str, bytes]:
    """Return every file of a report by its name in the folder; the page comes first."""
    files = {
        "report.html": to_html(document).encode(),
        "report.md": to_markdown(document).encode(),
    }
    for table in document.tables:
        files[f"tables/{table.name}.csv"] = render(table.frame, table.columns, "csv").encode()
    for figure in document.figures:
        files[f"figures/{figure.name}.svg"] = figure.svg.encode()
        files[f"figures/{figure.name}.png"] = figure.png
    return files


def write_report(document: Document, folder: Path) -> tuple[Path, ...]:
    """Write a report; return its files, the page first."""
    files = files_of(document)
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
