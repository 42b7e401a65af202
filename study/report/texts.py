"""Numbers as readers see them in sentences; a dash for what is undefined."""

from __future__ import annotations

import math
from collections.abc import Sequence

DASH = "-"


def fixed(value: float | None, form: str = ".4f") -> str:
    """Return a number in a fixed form."""
    return DASH if value is None or math.isnan(value) else format(value, form)


def with_interval(value: float, low: float, high: float, form: str = ".4f") -> str:
    """Return a number and its interval in brackets, if it has one."""
    if math.isnan(low) or math.isnan(high):
        return fixed(value, form)
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def p_value(p: float) -> str:
    """Return ``p = 0.012`` or ``p < 0.001``."""
    if math.isnan(p):
        return "p undefined"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return ``1 fold``, ``5 folds``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(words: Sequence[str]) -> str:
    """Join words as in a sentence: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
