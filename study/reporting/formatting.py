"""Numbers, intervals and tables as text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pandas import DataFrame

Kind = Literal["table", "md", "csv", "json", "latex"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column as readers see it.

    Attributes
    ----------
    key : str
        Column of the frame.
    heading : str
    form : str
        Format of its numbers; empty for text, which is aligned to the left.
    interval : tuple of two str
        Columns of the ends of an interval, shown in brackets behind the number.
    """

    key: str
    heading: str
    form: str = ""
    interval: tuple[str, ...] = ()

    def shown(self, row: Row) -> str:
        """Return the arm of a row; a dash for what is undefined."""
        value = row.get(self.key)
        if value is None or not self.form:
            return "-" if value is None else str(value)
        text = format(value, self.form)
        ends = [row.get(key) for key in self.interval]
        if not ends or None in ends:
            return text
        return f"{text} [{', '.join(format(end, self.form) for end in ends)}]"


def frame_of(rows: Iterable[Row]) -> DataFrame:
    """Return rows as a frame of the very values: no number becomes another type."""
    from pandas import DataFrame

    return DataFrame(list(rows), dtype=object)


def records(frame: DataFrame) -> list[Row]:
    """Return the rows of a frame, with None where a value is missing."""
    rows = frame.where(frame.notna(), None).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def render_table(frame: DataFrame, columns: Sequence[Column], kind: Kind) -> str:
    """Return a frame as text of one kind, ending in a newline.

    CSV and JSON have every column of the frame, the others those of `columns` that it has.
    """
    if kind == "json":  # `to_json` cuts floats to 15 digits
        return json.dumps(records(frame), indent=2) + "\n"
    if kind == "csv":
        return frame.to_csv(index=False, lineterminator="\n")
    from pandas import DataFrame

    used = [column for column in columns if column.key in frame.columns]
    texts = [[column.shown(row) for column in used] for row in records(frame)]
    shown = DataFrame(texts, columns=[column.heading for column in used], dtype=object)
    numeric = [bool(column.form) for column in used]
    if kind == "md":
        return markdown(shown, numeric)
    if kind == "latex":
        aligned = "".join("r" if number else "l" for number in numeric)
        return shown.to_latex(index=False, escape=True, column_format=aligned)
    return _plain(shown, numeric)


def markdown(shown: DataFrame, numeric: Sequence[bool]) -> str:
    """Return a frame of text as a Markdown table; numeric columns are aligned to the right."""
    escaped = shown.map(_escaped).rename(columns=_escaped)
    aligned = ["right" if number else "left" for number in numeric]
    return escaped.to_markdown(index=False, disable_numparse=True, colalign=aligned) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _plain(shown: DataFrame, numeric: Sequence[bool]) -> str:
    arms = [list(shown.columns), *shown.to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*arms, strict=True)]
    lines = []
    for line in arms:
        padded = (
            text.rjust(width) if number else text.ljust(width)
            for number, text, width in zip(numeric, line, widths, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


DASH = "-"


def format_fixed(value: float | None, form: str = ".4f") -> str:
    """Return a number in a fixed form."""
    return DASH if value is None or math.isnan(value) else format(value, form)


def format_interval(value: float, low: float, high: float, form: str = ".4f") -> str:
    """Return a number and its interval in brackets, if it has one."""
    if math.isnan(low) or math.isnan(high):
        return format_fixed(value, form)
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def format_p_value(p: float) -> str:
    """Return ``p = 0.012`` or ``p < 0.001``."""
    if math.isnan(p):
        return "p undefined"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def format_count(number: int, one: str, many: str = "") -> str:
    """Return ``1 fold``, ``5 folds``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def format_list(words: Sequence[str]) -> str:
    """Join words as in a sentence: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
