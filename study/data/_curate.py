"""A recipe carried out: sources -> one table, with the count of every step."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from study.data import _rows
from study.data._dataset import CurationStep, OdorDataset
from study.data._recipe import Recipe
from study.data._rows import Row
from study.data._source import RawTable
from study.data._spelling import spelling
from study.errors import InputError


def build_dataset(recipe: Recipe) -> OdorDataset:
    """Read the sources of a recipe and curate them.

    Raises
    ------
    InputError
        A file is missing or malformed, a SMILES of the user's own table cannot be parsed, the
        vocabulary is empty or unknown, or a label has no positive.
    """
    tables = [choice.build().read(recipe.folder()) for choice in recipe.sources]
    return curate(tables, recipe)


def curate(tables: Sequence[RawTable], recipe: Recipe) -> OdorDataset:
    """Curate tables that were read, step by step, in the order of the recipe."""
    rated = any(table.threshold is not None for table in tables)
    spell = {
        table.name: spelling(table.name, synonyms=recipe.synonyms and not rated) for table in tables
    }
    known = [{spell[t.name](raw) for raw in t.vocabulary} - {""} for t in tables]
    names = _vocabulary(known, recipe)
    steps = [step for table in tables for step in table.steps]
    steps.append(_spelling_step(tables, known))
    rows, parsed = _rows.parse(tables, lambda source, raw: spell[source](raw), recipe.key)
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


def _vocabulary(known: Sequence[set[str]], recipe: Recipe) -> tuple[str, ...]:
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


def _filtered(rows: list[Row], recipe: Recipe, steps: list[CurationStep]) -> list[Row]:
    if recipe.multi_fragment == "drop":
        rows, step = _rows.keep_where(
            rows, "drop entries of several fragments", lambda row: row.structure.fragments == 1
        )
        steps.append(step)
    if recipe.carbon_free == "drop":
        rows, step = _rows.keep_where(
            rows, "drop entries without carbon", lambda row: row.structure.carbons > 0
        )
        steps.append(step)
    return rows


def _merged(
    rows: list[Row], names: Sequence[str], recipe: Recipe, steps: list[CurationStep]
) -> list[Row]:
    rows, step = _rows.merge(rows)
    note = "; ".join(filter(None, (step.note, _rows.twins(rows))))
    steps.append(replace(step, note=note))
    rows, step = _rows.clear_odorless(rows)
    steps.append(step)
    rule = recipe.vocabulary if isinstance(recipe.vocabulary, str) else "given names"
    rows, step = _rows.restrict(rows, names, f"vocabulary: {rule}")
    steps.append(step)
    return rows


def _finished(
    rows: list[Row],
    names: Sequence[str],
    tables: Sequence[RawTable],
    recipe: Recipe,
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
    rows: list[Row],
    names: Sequence[str],
    tables: Sequence[RawTable],
    recipe: Recipe,
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
    labels: NDArray[np.uint8], recipe: Recipe, steps: list[CurationStep]
) -> NDArray[np.int64]:
    if recipe.unlabelled == "keep":
        return np.arange(len(labels))
    kept = np.flatnonzero(labels.any(axis=1))
    steps.append(CurationStep("drop molecules without a label", len(labels), len(kept)))
    return kept
