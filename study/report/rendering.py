"""Rows as text: terminal, Markdown, LaTeX, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["table", "md", "csv", "json", "latex"]
Row = dict[str, Any]
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
}


@dataclass(frozen=True)
class Column:
    """A column as readers see it.

    Attributes
    ----------
    key : str
        Key of a row.
    heading : str
    form : str
        Format of its numbers; empty for text, which is aligned to the left.
    interval : tuple of two str
        Keys of the ends of an interval, shown in brackets behind the number.
    """

    key: str
    heading: str
    form: str = ""
    interval: tuple[str, ...] = ()

    def shown(self, row: Row) -> str:
        """Return the cell of a row; a dash for what is undefined."""
        value = row.get(self.key)
        if value is None or not self.form:
            return "-" if value is None else str(value)
        text = format(value, self.form)
        ends = [row.get(key) for key in self.interval]
        if not ends or None in ends:
            return text
        return f"{text} [{', '.join(format(end, self.form) for end in ends)}]"


def render(rows: Sequence[Row], columns: Sequence[Column], kind: Kind) -> str:
    """Return a table as text of one kind, ending in a newline.

    CSV and JSON have every key of the rows, the others the columns that any row has.
    """
    if kind == "json":
        return json.dumps(list(rows), indent=2) + "\n"
    if kind == "csv":
        return _csv(rows)
    used = [column for column in columns if any(column.key in row for row in rows)]
    cells = [[column.heading for column in used]]
    cells += [[column.shown(row) for column in used] for row in rows]
    writer = {"md": _markdown, "latex": _latex, "table": _plain}[kind]
    return writer(used, cells)


def _csv(rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    keys = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(buffer, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _markdown(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> str:
    escaped = [[text.replace("|", "\\|") for text in line] for line in cells]
    lines = ["| " + " | ".join(line) + " |" for line in escaped]
    aligned = ["---:" if column.form else "---" for column in columns]
    return "\n".join([lines[0], "| " + " | ".join(aligned) + " |", *lines[1:]]) + "\n"


def _latex(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> str:
    """Write a `tabular` with the rules of the package booktabs."""
    lines = [" & ".join(_escaped(text) for text in line) + r" \\" for line in cells]
    aligned = "".join("r" if column.form else "l" for column in columns)
    head = [rf"\begin{{tabular}}{{{aligned}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _plain(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = []
    for line in cells:
        padded = (
            text.rjust(width) if column.form else text.ljust(width)
            for column, text, width in zip(columns, line, widths, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"
