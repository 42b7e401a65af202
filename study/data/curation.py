"""Curation of odor data: parse structures, normalize labels, merge and filter molecules."""

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
_MAX_LISTED = 5
_MAX_LENGTH = 200
"""Number of characters of a structure that a message quotes."""


@dataclass(frozen=True)
class CuratedRow:
    """A molecule during curation: one raw entry, or several merged ones.

    Attributes
    ----------
    place : str
        File and row of the first entry.
    structure : Structure
        Key of the molecule, and the properties that filters use.
    labels : frozenset of str
        Labels in their normalized spelling.
    ratings : mapping of str to float, optional
        Ratings by label.
    """

    place: str
    structure: Structure
    labels: frozenset[str]
    ratings: Mapping[str, float] | None = None


Outcome = tuple[list[CuratedRow], CurationStep]


def parse_rows(tables: Iterable[RawTable], spell: Callable[[str, str], str], key: Key) -> Outcome:
    """Parse and canonicalize every structure, and normalize its labels.

    Raises
    ------
    InputError
        Structures of the user's own table cannot be parsed; the message lists them.
    """
    rows: list[CuratedRow] = []
    unparsable: list[RawEntry] = []  # in a public archive: dropped and counted
    mistakes: list[RawEntry] = []  # in the user's own table
    for table in tables:
        for entry in table.entries:
            structure = parse_structure(entry.smiles.strip(), key)
            if structure is None:
                (mistakes if table.strict else unparsable).append(entry)
                continue
            labels = frozenset(filter(None, (spell(table.name, raw) for raw in entry.labels)))
            rows.append(CuratedRow(entry.place, structure, labels, entry.ratings))
    if mistakes:
        raise InputError(
            f"{len(mistakes)} SMILES cannot be parsed: {list_entries(mistakes)}; correct or remove "
            "these rows"
        )
    note = f"{len(unparsable)} unparsable: {list_entries(unparsable)}" if unparsable else ""
    before = len(rows) + len(unparsable)
    return rows, CurationStep("parse and canonicalize", before, len(rows), note)


def list_entries(entries: Sequence[RawEntry]) -> str:
    """Return place and text of the first few entries, and the number of further ones."""
    first = entries[:_MAX_LISTED]
    text = "; ".join(f"{entry.place} ('{_shorten(entry.smiles)}')" for entry in first)
    return text + (f" and {len(entries) - len(first)} more" if len(entries) > len(first) else "")


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]} ..."


def keep_rows(rows: list[CuratedRow], name: str, holds: Callable[[CuratedRow], bool]) -> Outcome:
    """Keep the rows for which `holds` is true; the note lists the first few others."""
    kept = [row for row in rows if holds(row)]
    dropped = [row for row in rows if not holds(row)]
    listed = ", ".join(row.structure.smiles for row in dropped[:_MAX_LISTED])
    more = ", ..." if len(dropped) > _MAX_LISTED else ""
    note = f"dropped: {listed}{more}" if dropped else ""
    return kept, CurationStep(name, len(rows), len(kept), note)


def merge_rows(rows: list[CuratedRow]) -> Outcome:
    """Merge entries of one molecule: union of labels, mean of ratings; sorted by SMILES."""
    groups: dict[str, list[CuratedRow]] = {}
    for row in rows:
        groups.setdefault(row.structure.smiles, []).append(row)
    merged = [_merge_group(groups[smiles]) for smiles in sorted(groups)]
    several = sum(len(group) > 1 for group in groups.values())
    note = f"{several} molecules had more than one entry" if several else ""
    return merged, CurationStep("merge duplicates by union", len(rows), len(merged), note)


def _merge_group(group: list[CuratedRow]) -> CuratedRow:
    first = group[0]
    labels = frozenset().union(*(row.labels for row in group))
    if first.ratings is None or len(group) == 1:
        return replace(first, labels=labels)
    by_row = [row.ratings for row in group if row.ratings is not None]
    ratings = {
        name: float(np.mean([ratings[name] for ratings in by_row if name in ratings]))
        for name in dict.fromkeys(name for ratings in by_row for name in ratings)
    }
    return replace(first, labels=labels, ratings=ratings)


def clear_odorless(rows: list[CuratedRow]) -> Outcome:
    """Remove the label `odorless` from molecules that have any other label."""
    conflicts = [ODORLESS in row.labels and len(row.labels) > 1 for row in rows]
    cleared = [
        replace(row, labels=row.labels - {ODORLESS}) if conflict else row
        for row, conflict in zip(rows, conflicts, strict=True)
    ]
    note = f"cleared in {sum(conflicts)} molecules"
    return cleared, CurationStep("clear odorless beside other labels", len(rows), len(rows), note)


def restrict_labels(rows: list[CuratedRow], names: Sequence[str], name: str) -> Outcome:
    """Remove every label outside the vocabulary."""
    vocabulary = frozenset(names)
    others = frozenset().union(*(row.labels for row in rows)) - vocabulary
    restricted = [replace(row, labels=row.labels & vocabulary) for row in rows]
    note = f"{len(names)} labels, {len(others)} others removed"
    return restricted, CurationStep(name, len(rows), len(rows), note)


def format_stereo_twins(rows: list[CuratedRow]) -> str:
    """Return a note about molecules that share their constitution; '' if there are none."""
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
    """Return the function that normalizes the spelling of a label of this source.

    Case and spaces never distinguish labels. With `synonyms`, the table ``files/synonyms.csv`` is
    applied, where a row for the source precedes a row for any source ('*'), and GoodScents'
    qualified descriptors are reduced to their base.
    """
    if not synonyms:
        return normalize_text
    table = read_synonyms()

    def look_up(label: str) -> str:
        return table.get((source, label)) or table.get((_ANY, label), label)

    def spell(raw: str) -> str:
        label = look_up(normalize_text(raw))
        return look_up(reduce_to_base(label)) if source == "goodscents" else label

    return cache(spell)


def normalize_text(raw: str) -> str:
    """Return a text in lower case with single spaces."""
    return " ".join(raw.lower().split())


def reduce_to_base(label: str) -> str:
    """Reduce a qualified descriptor to its base: ``cherry maraschino cherry`` -> ``cherry``.

    A qualified descriptor has the same words at both ends and others between them:
    ``currant bud black currant bud`` -> ``currant bud``.
    """
    words = label.split()
    for k in range((len(words) - 1) // 2, 0, -1):
        if words[:k] == words[-k:]:
            return " ".join(words[:k])
    return label


@cache
def read_synonyms() -> dict[tuple[str, str], str]:
    """Read the shipped synonyms: (source or '*', spelling) -> label."""
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
    """Curate the tables of sources, step by step, in the order of the recipe."""
    rated = any(table.threshold is not None for table in tables)
    spell = {
        table.name: normalize_spelling(table.name, synonyms=recipe.synonyms and not rated)
        for table in tables
    }
    vocabularies = [{spell[t.name](raw) for raw in t.vocabulary} - {""} for t in tables]
    names = _choose_vocabulary(vocabularies, recipe)
    steps = [step for table in tables for step in table.steps]
    steps.append(_build_spelling_step(tables, vocabularies))
    rows, parsed = parse_rows(tables, lambda source, raw: spell[source](raw), recipe.key)
    steps.append(parsed)
    rows = _filter_rows(rows, recipe, steps)
    rows = _merge_and_restrict(rows, names, recipe, steps)
    return _build_table(rows, names, tables, recipe, steps)


def _build_spelling_step(
    tables: Sequence[RawTable], vocabularies: Sequence[set[str]]
) -> CurationStep:
    entries = sum(len(table.entries) for table in tables)
    note = "; ".join(
        f"{table.name}: {len(table.vocabulary)} spellings, {len(vocabulary)} labels"
        for table, vocabulary in zip(tables, vocabularies, strict=True)
    )
    return CurationStep("spell labels alike", entries, entries, note)


def _choose_vocabulary(vocabularies: Sequence[set[str]], recipe: DatasetConfig) -> tuple[str, ...]:
    union = vocabularies[0].union(*vocabularies[1:])
    if recipe.vocabulary == "union":
        return tuple(sorted(union))
    if recipe.vocabulary == "intersection":
        common = tuple(sorted(vocabularies[0].intersection(*vocabularies[1:])))
        if not common:
            raise InputError("the sources have no label in common: use vocabulary: union")
        return common
    for name in recipe.vocabulary:
        if name not in union:
            close = difflib.get_close_matches(name, union, n=3)
            hint = f"; close to it: {', '.join(close)}" if close else ""
            raise InputError(f"no source knows the label '{name}' of the vocabulary{hint}")
    return recipe.vocabulary


def _filter_rows(
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


def _merge_and_restrict(
    rows: list[CuratedRow], names: Sequence[str], recipe: DatasetConfig, steps: list[CurationStep]
) -> list[CuratedRow]:
    rows, step = merge_rows(rows)
    note = "; ".join(filter(None, (step.note, format_stereo_twins(rows))))
    steps.append(replace(step, note=note))
    rows, step = clear_odorless(rows)
    steps.append(step)
    rule = recipe.vocabulary if isinstance(recipe.vocabulary, str) else "given names"
    rows, step = restrict_labels(rows, names, f"vocabulary: {rule}")
    steps.append(step)
    return rows


def _build_table(
    rows: list[CuratedRow],
    names: Sequence[str],
    tables: Sequence[RawTable],
    recipe: DatasetConfig,
    steps: list[CurationStep],
) -> OdorDataset:
    labels, ratings = _build_labels(rows, names, tables, recipe, steps)
    columns = _find_frequent_labels(labels, names, recipe.min_positives, steps)
    selected = _find_labelled_rows(labels[:, columns], recipe, steps)
    if not len(selected) or not len(columns):
        raise InputError(
            f"{recipe.name}: curation left {len(selected)} molecules x {len(columns)} labels; "
            "relax the filters, the vocabulary or min_positives"
        )
    return OdorDataset(
        name=recipe.name,
        smiles=tuple(rows[i].structure.smiles for i in selected),
        labels=np.ascontiguousarray(labels[np.ix_(selected, columns)]),
        label_names=tuple(names[j] for j in columns),
        ratings=None if ratings is None else ratings[np.ix_(selected, columns)],
        steps=tuple(steps),
        sources={name: digest for table in tables for name, digest in table.files.items()},
    )


def _build_labels(
    rows: list[CuratedRow],
    names: Sequence[str],
    tables: Sequence[RawTable],
    recipe: DatasetConfig,
    steps: list[CurationStep],
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    threshold = recipe.threshold or tables[0].threshold
    if threshold is None:
        has_label = [[name in row.labels for name in names] for row in rows]
        return np.array(has_label, dtype=np.uint8).reshape(len(rows), len(names)), None
    values = [[(row.ratings or {}).get(name, np.nan) for name in names] for row in rows]
    ratings = np.array(values, dtype=np.float32).reshape(len(rows), len(names))
    labels = threshold.apply(ratings)
    note = f"{threshold}; {labels.sum()} positives"
    steps.append(CurationStep("label the ratings", len(rows), len(rows), note))
    return labels, ratings


def _find_frequent_labels(
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


def _find_labelled_rows(
    labels: NDArray[np.uint8], recipe: DatasetConfig, steps: list[CurationStep]
) -> NDArray[np.int64]:
    if recipe.unlabelled == "keep":
        return np.arange(len(labels))
    labelled = np.flatnonzero(labels.any(axis=1))
    steps.append(CurationStep("drop molecules without a label", len(labels), len(labelled)))
    return labelled
