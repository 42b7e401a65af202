"""Curation of odor tables: molecules merged, labels spelled one way, rows left out and counted."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.data.chemistry import Key, Structure, parse_structure
from study.data.dataset import CurationStep, OdorDataset
from study.data.recipe import DatasetConfig
from study.data.source import RawEntry, RawTable
from study.data.tables import read_rows
from study.errors import InputError

ODORLESS = "odorless"
_SHOWN = 5
_LONGEST = 200
"""Characters of a structure that a message repeats."""


@dataclass(frozen=True)
class CuratedRow:
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


Outcome = tuple[list[CuratedRow], CurationStep]


def parse_rows(tables: Iterable[RawTable], spell: Callable[[str, str], str], key: Key) -> Outcome:
    """Parse every structure, canonicalize it, spell its labels.

    Raises
    ------
    InputError
        A structure of the user's own table cannot be parsed; all of them are named.
    """
    rows: list[CuratedRow] = []
    bad: list[RawEntry] = []
    wrong: list[RawEntry] = []
    for table in tables:
        for entry in table.entries:
            found = parse_structure(entry.smiles.strip(), key)
            if found is None:
                (wrong if table.strict else bad).append(entry)
                continue
            labels = frozenset(filter(None, (spell(table.name, raw) for raw in entry.labels)))
            rows.append(CuratedRow(entry.place, found, labels, entry.ratings))
    if wrong:
        raise InputError(
            f"{len(wrong)} SMILES cannot be parsed: {list_entries(wrong)}; correct or remove "
            "these rows"
        )
    note = f"{len(bad)} unparsable: {list_entries(bad)}" if bad else ""
    return rows, CurationStep("parse and canonicalize", len(rows) + len(bad), len(rows), note)


def list_entries(entries: Sequence[RawEntry]) -> str:
    """Place and text of the first few entries, and how many more there are."""
    shown = "; ".join(f"{entry.place} ('{_cut(entry.smiles)}')" for entry in entries[:_SHOWN])
    return shown + (f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else "")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def keep_rows(rows: list[CuratedRow], name: str, holds: Callable[[CuratedRow], bool]) -> Outcome:
    """Keep the rows for which `holds`; the first few left out are named."""
    kept = [row for row in rows if holds(row)]
    left = [row for row in rows if not holds(row)]
    shown = ", ".join(row.structure.smiles for row in left[:_SHOWN])
    note = f"dropped: {shown}" + (", ..." if len(left) > _SHOWN else "") if left else ""
    return kept, CurationStep(name, len(rows), len(kept), note)


def merge_rows(rows: list[CuratedRow]) -> Outcome:
    """Merge entries of one molecule: union of labels, mean of ratings; sorted by SMILES."""
    groups: dict[str, list[CuratedRow]] = {}
    for row in rows:
        groups.setdefault(row.structure.smiles, []).append(row)
    merged = [_merged_rows(groups[smiles]) for smiles in sorted(groups)]
    several = sum(len(group) > 1 for group in groups.values())
    note = f"{several} molecules had more than one entry" if several else ""
    return merged, CurationStep("merge duplicates by union", len(rows), len(merged), note)


def _merged_rows(group: list[CuratedRow]) -> CuratedRow:
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


def clear_odorless(rows: list[CuratedRow]) -> Outcome:
    """Take `odorless` away from molecules that have any other label."""
    conflict = [ODORLESS in row.labels and len(row.labels) > 1 for row in rows]
    cleared = [
        replace(row, labels=row.labels - {ODORLESS}) if both else row
        for row, both in zip(rows, conflict, strict=True)
    ]
    note = f"cleared in {sum(conflict)} molecules"
    return cleared, CurationStep("clear odorless beside other labels", len(rows), len(rows), note)


def restrict_labels(rows: list[CuratedRow], names: Sequence[str], name: str) -> Outcome:
    """Forget every label outside the vocabulary."""
    words = frozenset(names)
    left = frozenset().union(*(row.labels for row in rows)) - words
    kept = [replace(row, labels=row.labels & words) for row in rows]
    note = f"{len(names)} labels, {len(left)} others forgotten"
    return kept, CurationStep(name, len(rows), len(rows), note)


def find_stereo_twins(rows: list[CuratedRow]) -> str:
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


_ANY = "*"


def normalize_spelling(source: str, *, synonyms: bool) -> Callable[[str], str]:
    """Return the function that spells a label of this source.

    Case and spaces never distinguish labels. With `synonyms`, the readable table
    ``files/synonyms.csv`` is applied, a row for the source before a row for any ('*'), and
    GoodScents' qualified descriptors are reduced to their base.
    """
    if not synonyms:
        return plain_text
    table = read_synonyms()

    def known(label: str) -> str:
        return table.get((source, label)) or table.get((_ANY, label), label)

    def spell(raw: str) -> str:
        label = known(plain_text(raw))
        return known(base_spelling(label)) if source == "goodscents" else label

    return cache(spell)


def plain_text(raw: str) -> str:
    """Lower case, single spaces."""
    return " ".join(raw.lower().split())


def base_spelling(label: str) -> str:
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
def read_synonyms() -> dict[tuple[str, str], str]:
    """Shipped synonyms: (source or '*', spelling) -> label."""
    rows = read_rows(
        Path(__file__).parent / "files" / "synonyms.csv", ("spelling", "label", "source")
    )
    return {(row["source"], row["spelling"]): row["label"] for row in rows}


def build_dataset(recipe: DatasetConfig) -> OdorDataset:
    """Read the sources of a recipe and curate them.

    Raises
    ------
    InputError
        A file is missing or malformed, a SMILES of the user's own table cannot be parsed, the
        vocabulary is empty or unknown, or a label has no positive.
    """
    tables = [choice.build().read(recipe.folder()) for choice in recipe.sources]
    return curate(tables, recipe)


def curate(tables: Sequence[RawTable], recipe: DatasetConfig) -> OdorDataset:
    """Curate tables that were read, step by step, in the order of the recipe."""
    rated = any(table.threshold is not None for table in tables)
    spell = {
        table.name: normalize_spelling(table.name, synonyms=recipe.synonyms and not rated)
        for table in tables
    }
    known = [{spell[t.name](raw) for raw in t.vocabulary} - {""} for t in tables]
    names = _vocabulary(known, recipe)
    steps = [step for table in tables for step in table.steps]
    steps.append(_spelling_step(tables, known))
    rows, parsed = parse_rows(tables, lambda source, raw: spell[source](raw), recipe.key)
    steps.append(parsed)
    rows = _filtered(rows, recipe, steps)
    rows = _merged(rows, names, recipe, steps)
    return _finished(rows, names, tables, recipe, steps)


def _spelling_step(tables: Sequence[RawTable], known: Sequence[set[str]]) -> CurationStep:
    entries = sum(len(table.entries) for table in tables)
    note = "; ".join(
        f"{table.name}: {len(table.vocabulary)} spellings, {len(words)} labels"
        for table, words in zip(tables, known, strict=True)
    )
    return CurationStep("spell labels alike", entries, entries, note)


def _vocabulary(known: Sequence[set[str]], recipe: DatasetConfig) -> tuple[str, ...]:
    union = known[0].union(*known[1:])
    if recipe.vocabulary == "union":
        return tuple(sorted(union))
    if recipe.vocabulary == "intersection":
        common = tuple(sorted(known[0].intersection(*known[1:])))
        if not common:
            raise InputError("the sources have no label in common: use vocabulary: union")
        return common
    for name in recipe.vocabulary:
        if name not in union:
            near = difflib.get_close_matches(name, union, n=3)
            hint = f"; close to it: {', '.join(near)}" if near else ""
            raise InputError(f"no source knows the label '{name}' of the vocabulary{hint}")
    return recipe.vocabulary


def _filtered(
    rows: list[CuratedRow], recipe: DatasetConfig, steps: list[CurationStep]
) -> list[CuratedRow]:
    if recipe.multi_fragment == "drop":
        rows, step = keep_rows(
            rows, "drop entries of several fragments", lambda row: row.structure.fragments == 1
        )
        steps.append(step)
    if recipe.carbon_free == "drop":
        rows, step = keep_rows(
            rows, "drop entries without carbon", lambda row: row.structure.carbons > 0
        )
        steps.append(step)
    return rows


def _merged(
    rows: list[CuratedRow], names: Sequence[str], recipe: DatasetConfig, steps: list[CurationStep]
) -> list[CuratedRow]:
    rows, step = merge_rows(rows)
    note = "; ".join(filter(None, (step.note, find_stereo_twins(rows))))
    steps.append(replace(step, note=note))
    rows, step = clear_odorless(rows)
    steps.append(step)
    rule = recipe.vocabulary if isinstance(recipe.vocabulary, str) else "given names"
    rows, step = restrict_labels(rows, names, f"vocabulary: {rule}")
    steps.append(step)
    return rows


def _finished(
    rows: list[CuratedRow],
    names: Sequence[str],
    tables: Sequence[RawTable],
    recipe: DatasetConfig,
    steps: list[CurationStep],
) -> OdorDataset:
    labels, ratings = _labels(rows, names, tables, recipe, steps)
    columns = _frequent(labels, names, recipe.min_positives, steps)
    kept = _labelled(labels[:, columns], recipe, steps)
    if not len(kept) or not len(columns):
        raise InputError(f"{recipe.name}: curation left {len(kept)} molecules x {len(columns)}")
    return OdorDataset(
        name=recipe.name,
        smiles=tuple(rows[i].structure.smiles for i in kept),
        labels=np.ascontiguousarray(labels[np.ix_(kept, columns)]),
        label_names=tuple(names[j] for j in columns),
        ratings=None if ratings is None else ratings[np.ix_(kept, columns)],
        steps=tuple(steps),
        sources={name: digest for table in tables for name, digest in table.files.items()},
    )


def _labels(
    rows: list[CuratedRow],
    names: Sequence[str],
    tables: Sequence[RawTable],
    recipe: DatasetConfig,
    steps: list[CurationStep],
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    threshold = recipe.threshold or tables[0].threshold
    if threshold is None:
        grid = [[name in row.labels for name in names] for row in rows]
        return np.array(grid, dtype=np.uint8).reshape(len(rows), len(names)), None
    given = [[(row.ratings or {}).get(name, np.nan) for name in names] for row in rows]
    ratings = np.array(given, dtype=np.float32).reshape(len(rows), len(names))
    labels = threshold.apply(ratings)
    note = f"{threshold}; {labels.sum()} positives"
    steps.append(CurationStep("label the ratings", len(rows), len(rows), note))
    return labels, ratings


def _frequent(
    labels: NDArray[np.uint8], names: Sequence[str], least: int, steps: list[CurationStep]
) -> NDArray[np.int64]:
    if least == 0:
        return np.arange(len(names))
    positives = labels.sum(axis=0, dtype=np.int64)
    rare = [names[j] for j in np.flatnonzero(positives < least).tolist()]
    note = f"{len(rare)} of {len(names)} labels dropped" + (f": {', '.join(rare)}" if rare else "")
    step = f"drop labels with fewer than {least} positives"
    steps.append(CurationStep(step, len(labels), len(labels), note))
    return np.flatnonzero(positives >= least)


def _labelled(
    labels: NDArray[np.uint8], recipe: DatasetConfig, steps: list[CurationStep]
) -> NDArray[np.int64]:
    if recipe.unlabelled == "keep":
        return np.arange(len(labels))
    kept = np.flatnonzero(labels.any(axis=1))
    steps.append(CurationStep("drop molecules without a label", len(labels), len(kept)))
    return kept
