"""The comparison table as text: terminal, Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any, Literal

from study.analysis.summary import CellSummary

Kind = Literal["table", "md", "csv", "json"]
Row = dict[str, Any]

HEADERS = {
    "study": "study",
    "features": "features",
    "technique": "technique",
    "fusion": "fusion",
    "partition": "partition",
    "fraction": "fraction",
    "auroc": "AUROC",
    "auroc_sd": "fold SD",
    "ap": "AP",
    "auroc_q5": "sparse AUROC",
    "gain": "gain",
    "sparse_gain": "sparse gain",
    "sparse_gain_sd": "its fold SD",
    "trials": "trials",
}
"""Columns in order: key in CSV and JSON, heading for readers; ``study`` only for several."""

LEGEND = (
    "gain: AUROC minus the MLP head's on the same folds (other operators: minus the first's); "
    "sparse: the fifth of the labels with the fewest positives."
)

_TEXT = ("study", "features", "technique", "fusion", "partition")


def comparison_rows(summaries: Sequence[CellSummary], study: str | None = None) -> list[Row]:
    """Return one row a cell, with the study's name if it is given; undefined numbers are None."""
    first = {} if study is None else {"study": study}
    return [first | _row(summary) for summary in summaries]


def _row(summary: CellSummary) -> Row:
    gain = summary.gain
    row: Row = dict(summary.cell.params())
    row |= {
        "fraction": summary.cell.fraction,
        "auroc": _number(summary.auroc),
        "auroc_sd": _number(summary.auroc_sd),
        "ap": _number(summary.average_precision),
        "auroc_q5": _number(summary.fifths[-1]) if summary.fifths else None,
        "gain": _number(gain.macro) if gain else None,
        "sparse_gain": _number(gain.sparse) if gain else None,
        "sparse_gain_sd": _number(gain.sparse_sd) if gain else None,
        "trials": f"{summary.repeats}/{summary.repeats + summary.missing}",
    }
    return row


def caveats(summaries: Sequence[CellSummary]) -> list[str]:
    """Return a line for every arm that should not be compared as it stands."""
    return [
        f"not converged: {summary.cell}: {summary.unconverged} of {summary.repeats} trials were "
        "best in one of their first or in their last epoch; raise training.patience or "
        "training.epochs before comparing them"
        for summary in summaries
        if summary.unconverged
    ]


def render(rows: Sequence[Row], kind: Kind) -> str:
    """Return the table as text of one kind, ending in a newline."""
    if kind == "json":
        return json.dumps(list(rows), indent=2) + "\n"
    keys = [key for key in HEADERS if any(key in row for row in rows)]
    if kind == "csv":
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()
    cells = [[HEADERS[key] for key in keys]]
    cells += [[_shown(key, row[key]) for key in keys] for row in rows]
    return _markdown(keys, cells) if kind == "md" else _plain(keys, cells)


def _markdown(keys: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(line) + " |" for line in cells]
    aligned = ["---" if key in _TEXT else "---:" for key in keys]
    return "\n".join([lines[0], "| " + " | ".join(aligned) + " |", *lines[1:]]) + "\n"


def _plain(keys: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    lines = []
    for line in cells:
        padded = (
            text.ljust(width) if key in _TEXT else text.rjust(width)
            for key, text, width in zip(keys, line, widths, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def _shown(key: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        if key == "fraction":
            return f"{value:g}"
        return f"{value:+.4f}" if key in ("gain", "sparse_gain") else f"{value:.4f}"
    return str(value)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
