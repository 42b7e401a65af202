"""Declared contrasts: which arm is compared with which, decided before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from study.cells import Cell
from study.numbers import Training
from study.words import Vocabulary

Family = tuple[tuple[str, ...], float, Training]


@dataclass(frozen=True)
class Contrast:
    """An arm and the reference it has to beat.

    Attributes
    ----------
    family : str
        The question it is part of: contrasts of one family are adjusted for each other.
    arm, reference : Cell
    """

    family: str
    arm: Cell
    reference: Cell

    def __str__(self) -> str:
        return f"{self.arm} against {self.reference}"


def reference_arms(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the reference arm of every cell that has one, both as cell ids.

    The reference is the first MLP head of the file with the same features, fraction and numbers:
    what a technique or another operator has to beat.
    """
    heads: dict[Family, str] = {}
    for cell in cells:
        if cell.technique == "mlp_head":
            heads.setdefault(family_of(cell), cell.id)
    pairs = {cell.id: heads.get(family_of(cell)) for cell in cells if len(cell.features) > 1}
    return {arm: head for arm, head in pairs.items() if head is not None and head != arm}


def family_of(cell: Cell) -> Family:
    """Return what an arm shares with its reference: features, fraction and numbers."""
    return tuple(f.key for f in cell.features), cell.fraction, cell.shared


def default_contrasts(cells: Sequence[Cell]) -> tuple[Contrast, ...]:
    """Return the contrasts of a study that declares none.

    ``technique``: every technique and operator against the reference MLP head; ``control``: the
    label balancer against the mean of independent models; ``modality``: a set of modalities
    against itself less one.
    """
    return (*_technique(cells), *_control(cells), *_modality(cells))


def _technique(cells: Sequence[Cell]) -> Iterator[Contrast]:
    by_id = {cell.id: cell for cell in cells}
    for arm, reference in reference_arms(cells).items():
        yield Contrast("technique", by_id[arm], by_id[reference])


def _control(cells: Sequence[Cell]) -> Iterator[Contrast]:
    means = {family_of(c): c for c in cells if c.technique == "independent_mean"}
    for cell in cells:
        if cell.technique == "label_balancer" and family_of(cell) in means:
            yield Contrast("control", cell, means[family_of(cell)])


def _modality(cells: Sequence[Cell]) -> Iterator[Contrast]:
    heads: dict[Family, Cell] = {}
    for cell in cells:
        if cell.technique in ("mlp_head", "single"):
            heads.setdefault(family_of(cell), cell)
    for keys, fraction, training in list(heads):
        for left_out in keys if len(keys) > 1 else ():
            fewer = tuple(key for key in keys if key != left_out)
            if (fewer, fraction, training) in heads:
                arm = heads[keys, fraction, training]
                yield Contrast("modality", arm, heads[fewer, fraction, training])


def models_of(cell: Cell) -> int:
    """Return how many models an arm averages for a label: above 1 it is an ensemble.

    The mean of independent models averages one a modality. So does the label balancer whose
    owners are drawn for every batch: each branch sees every label in time, and the mean of the
    branches predicts it. With fixed owners a label is predicted by its owner alone, which is one
    model, as every head is.
    """
    if cell.technique == "independent_mean":
        return len(cell.features)
    if cell.partition is None or not _drawn_per_batch(cell.partition.word):
        return 1
    return len(cell.features)


@cache
def _drawn_per_batch(partition: str) -> bool:
    return bool(Vocabulary("partition").load(partition).per_batch)
