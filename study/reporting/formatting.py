"""Format numbers, intervals and tables as text."""

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
    """How a column of a frame is shown.

    Attributes
    ----------
    key : str
        Name of the column in the frame.
    heading : str
    form : str
        Format specification of its numbers; empty for text, which is aligned to the left.
    interval : tuple of two str
        Columns with the ends of an interval, shown in brackets after the number.
    """

    key: str
    heading: str
    form: str = ""
    interval: tuple[str, ...] = ()

    def format_value(self, row: Row) -> str:
        """Return the text of this column in a row; a dash for an undefined value."""
        value = row.get(self.key)
        if value is None or not self.form:
            return "-" if value is None else str(value)
        text = format(value, self.form)
        ends = [row.get(key) for key in self.interval]
        if not ends or None in ends:
            return text
        return f"{text} [{', '.join(format(end, self.form) for end in ends)}]"


def build_frame(rows: Iterable[Row]) -> DataFrame:
    """Return rows as a frame of dtype object, which does not convert any value."""
    from pandas import DataFrame

    return DataFrame(list(rows), dtype=object)


def records(frame: DataFrame) -> list[Row]:
    """Return the rows of a frame, with None for missing values."""
    rows = frame.where(frame.notna(), None).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def render_table(frame: DataFrame, columns: Sequence[Column], kind: Kind) -> str:
    """Return a frame as text of the given kind, ending in a newline.

    CSV and JSON have every column of the frame, the other kinds only those of `columns`.
    """
    if kind == "json":  # `DataFrame.to_json` rounds floats to 15 digits
        return json.dumps(records(frame), indent=2) + "\n"
    if kind == "csv":
        return frame.to_csv(index=False, lineterminator="\n")
    from pandas import DataFrame

    used = [column for column in columns if column.key in frame.columns]
    texts = [[column.format_value(row) for column in used] for row in records(frame)]
    text_frame = DataFrame(texts, columns=[column.heading for column in used], dtype=object)
    numeric = [bool(column.form) for column in used]
    if kind == "md":
        return markdown(text_frame, numeric)
    if kind == "latex":
        aligned = "".join("r" if number else "l" for number in numeric)
        return text_frame.to_latex(index=False, escape=True, column_format=aligned)
    return _format_plain(text_frame, numeric)


def markdown(texts: DataFrame, numeric: Sequence[bool]) -> str:
    """Return a frame of text as a Markdown table; numeric columns are aligned to the right."""
    escaped = texts.map(_escape_pipes).rename(columns=_escape_pipes)
    aligned = ["right" if number else "left" for number in numeric]
    return escaped.to_markdown(index=False, disable_numparse=True, colalign=aligned) + "\n"


def _escape_pipes(text: str) -> str:
    return text.replace("|", "\\|")


def _format_plain(texts: DataFrame, numeric: Sequence[bool]) -> str:
    rows = [list(texts.columns), *texts.to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = (
            text.rjust(width) if number else text.ljust(width)
            for number, text, width in zip(numeric, row, widths, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


DASH = "-"


def format_fixed(value: float | None, form: str = ".4f") -> str:
    """Return a number in the format `form`; a dash if it is undefined."""
    return DASH if value is None or math.isnan(value) else format(value, form)


def format_interval(value: float, low: float, high: float, form: str = ".4f") -> str:
    """Return a number, with its interval in brackets if that is defined."""
    if math.isnan(low) or math.isnan(high):
        return format_fixed(value, form)
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def format_p_value(p: float) -> str:
    """Return a p value as text: ``p = 0.012``, ``p < 0.001`` or ``p undefined``."""
    if math.isnan(p):
        return "p undefined"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def format_count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 fold``, ``5 folds``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def format_list(items: Sequence[str]) -> str:
    """Join items as in a sentence: ``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
