"""One spelling for each label: the table of synonyms and the "base qualifier base" form."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from study.data._table import read_rows

_ANY = "*"


def spelling(source: str, *, synonyms: bool) -> Callable[[str], str]:
    """Return the function that spells a label of this source.

    Case and spaces never distinguish labels. With `synonyms`, the readable table
    ``_synonyms.csv`` is applied, a row for the source before a row for any ('*'), and
    GoodScents' qualified descriptors are reduced to their base.
    """
    if not synonyms:
        return plain
    table = synonym_table()

    def known(label: str) -> str:
        return table.get((source, label)) or table.get((_ANY, label), label)

    def spell(raw: str) -> str:
        label = known(plain(raw))
        return known(base(label)) if source == "goodscents" else label

    return cache(spell)


def plain(raw: str) -> str:
    """Lower case, single spaces."""
    return " ".join(raw.lower().split())


def base(label: str) -> str:
    """Reduce a qualified descriptor to its base: ``cherry maraschino cherry`` -> ``cherry``.

    The form is the same words at both ends with something between:
    ``currant bud black currant bud`` -> ``currant bud``.
    """
    words = label.split()
    for k in range((len(words) - 1) // 2, 0, -1):
        if words[:k] == words[-k:]:
            return " ".join(words[:k])
    return label


@cache
def synonym_table() -> dict[tuple[str, str], str]:
    """Shipped synonyms: (source or '*', spelling) -> label."""
    rows = read_rows(Path(__file__).with_name("_synonyms.csv"), ("spelling", "label", "source"))
    return {(row["source"], row["spelling"]): row["label"] for row in rows}
