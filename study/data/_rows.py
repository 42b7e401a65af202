"""The steps of curation: each takes rows and returns rows and the record of what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from study.data._chemistry import Key, Structure, structure
from study.data._dataset import CurationStep
from study.data._source import RawEntry, RawTable
from study.errors import InputError

ODORLESS = "odorless"
_SHOWN = 5
_LONGEST = 200
"""Characters of a structure that a message repeats."""


@dataclass(frozen=True)
class Row:
    """A molecule on its way into the table: one raw entry, or several merged.

    Attributes
    ----------
    place : str
        Where it was first read.
    structure : Structure
        Its key and what the filters ask for.
    labels : frozenset of str
        Labels under their final spelling.
    ratings : mapping of str to float, optional
        Ratings by label.
    """

    place: str
    structure: Structure
    labels: frozenset[str]
    ratings: Mapping[str, float] | None = None


Outcome = tuple[list[Row], CurationStep]


def parse(tables: Iterable[RawTable], spell: Callable[[str, str], str], key: Key) -> Outcome:
    """Parse every structure, canonicalize it, spell its labels.

    Raises
    ------
    InputError
        A structure of the user's own table cannot be parsed; all of them are named.
    """
    rows: list[Row] = []
    bad: list[RawEntry] = []
    wrong: list[RawEntry] = []
    for table in tables:
        for entry in table.entries:
            found = structure(entry.smiles.strip(), key)
            if found is None:
                (wrong if table.strict else bad).append(entry)
                continue
            labels = frozenset(filter(None, (spell(table.name, raw) for raw in entry.labels)))
            rows.append(Row(entry.place, found, labels, entry.ratings))
    if wrong:
        raise InputError(
            f"{len(wrong)} SMILES cannot be parsed: {named(wrong)}; correct or remove these rows"
        )
    note = f"{len(bad)} unparsable: {named(bad)}" if bad else ""
    return rows, CurationStep("parse and canonicalize", len(rows) + len(bad), len(rows), note)


def named(entries: Sequence[RawEntry]) -> str:
    """Place and text of the first few entries, and how many more there are."""
    shown = "; ".join(f"{entry.place} ('{_cut(entry.smiles)}')" for entry in entries[:_SHOWN])
    return shown + (f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else "")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def keep_where(rows: list[Row], name: str, holds: Callable[[Row], bool]) -> Outcome:
    """Keep the rows for which `holds`; the first few left out are named."""
    kept = [row for row in rows if holds(row)]
    left = [row for row in rows if not holds(row)]
    shown = ", ".join(row.structure.smiles for row in left[:_SHOWN])
    note = f"dropped: {shown}" + (", ..." if len(left) > _SHOWN else "") if left else ""
    return kept, CurationStep(name, len(rows), len(kept), note)


def merge(rows: list[Row]) -> Outcome:
    """Merge entries of one molecule: union of labels, mean of ratings; sorted by SMILES."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.structure.smiles, []).append(row)
    merged = [_merged(groups[smiles]) for smiles in sorted(groups)]
    several = sum(len(group) > 1 for group in groups.values())
    note = f"{several} molecules had more than one entry" if several else ""
    return merged, CurationStep("merge duplicates by union", len(rows), len(merged), note)


def _merged(group: list[Row]) -> Row:
    first = group[0]
    labels = frozenset().union(*(row.labels for row in group))
    if first.ratings is None or len(group) == 1:
        return replace(first, labels=labels)
    given = [row.ratings for row in group if row.ratings is not None]
    ratings = {
        name: float(np.mean([one[name] for one in given if name in one]))
        for name in dict.fromkeys(name for one in given for name in one)
    }
    return replace(first, labels=labels, ratings=ratings)


def clear_odorless(rows: list[Row]) -> Outcome:
    """Take `odorless` away from molecules that have any other label."""
    conflict = [ODORLESS in row.labels and len(row.labels) > 1 for row in rows]
    cleared = [
        replace(row, labels=row.labels - {ODORLESS}) if both else row
        for row, both in zip(rows, conflict, strict=True)
    ]
    note = f"cleared in {sum(conflict)} molecules"
    return cleared, CurationStep("clear odorless beside other labels", len(rows), len(rows), note)


def restrict(rows: list[Row], names: Sequence[str], name: str) -> Outcome:
    """Forget every label outside the vocabulary."""
    words = frozenset(names)
    left = frozenset().union(*(row.labels for row in rows)) - words
    kept = [replace(row, labels=row.labels & words) for row in rows]
    note = f"{len(names)} labels, {len(left)} others forgotten"
    return kept, CurationStep(name, len(rows), len(rows), note)


def twins(rows: list[Row]) -> str:
    """How many molecules share their constitution with another, as a note ('' if none)."""
    count: dict[str, int] = {}
    for row in rows:
        count[row.structure.constitution] = count.get(row.structure.constitution, 0) + 1
    shared = sum(k for k in count.values() if k > 1)
    return (
        f"{shared} molecules share their constitution with another: split by constitution"
        if shared
        else ""
    )
