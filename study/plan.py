"""What will run: the grid expanded to distinct cells, merged duplicates, fits and expected time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from study.cells import Cell, Feature, TrialSpec, trials_of
from study.choices import Fusion, Partition
from study.numbers import Training
from study.spec import Grid, StudySpec

AS_PUBLISHED = "random_per_batch"


@dataclass(frozen=True)
class Plan:
    """The distinct work of a study.

    Attributes
    ----------
    cells : tuple of Cell
        Every arm once, in the order of the file.
    asked : int
        Combinations the file asks for.
    merged : mapping of reason to count
        Combinations that equal another arm, with the reason.
    added : tuple of Cell
        Arms nobody asked for that a control needs (members of ``independent_mean``).
    repeats, folds, seeds
        The repeat axis, shared by all arms.
    """

    cells: tuple[Cell, ...]
    asked: int
    merged: dict[str, int]
    added: tuple[Cell, ...]
    repeats: int
    folds: int
    seeds: tuple[int, ...]

    @property
    def per_cell(self) -> int:
        """Trials of one cell."""
        return self.repeats * self.folds * len(self.seeds)

    @property
    def fits(self) -> int:
        """Head fits: trials that train something (an average of members trains nothing)."""
        trained = sum(cell.technique != "independent_mean" for cell in self.cells)
        return trained * self.per_cell

    def trials(self) -> Iterator[TrialSpec]:
        """Yield every trial: members before the averages that need them."""
        ordered = sorted(self.cells, key=lambda cell: cell.technique == "independent_mean")
        for cell in ordered:
            yield from self.trials_of(cell)

    def trials_of(self, cell: Cell) -> Iterator[TrialSpec]:
        """Yield the trials of one cell."""
        yield from trials_of(cell, repeats=self.repeats, folds=self.folds, seeds=self.seeds)


def make_plan(spec: StudySpec) -> Plan:
    """Expand the grid of a study into distinct cells.

    Combinations that build the same model are merged, and the reason is counted; a control
    that needs further arms gets them.
    """
    cells: dict[str, Cell] = {}
    merged: Counter[str] = Counter()
    asked = 0
    for cell, reason in _asked(spec):
        asked += 1
        if cells.setdefault(cell.id, cell) is not cell:
            merged[reason or "the file asks for it twice"] += 1
    added: dict[str, Cell] = {}
    for cell in list(cells.values()):
        if cell.technique == "independent_mean":
            members = (cell.single(feature) for feature in cell.features)
            added |= {member.id: member for member in members if member.id not in cells}
    return Plan(
        cells=(*cells.values(), *added.values()),
        asked=asked,
        merged=dict(merged),
        added=tuple(added.values()),
        repeats=spec.split.repeats,
        folds=spec.split.folds,
        seeds=spec.seeds,
    )


def _asked(spec: StudySpec) -> Iterator[tuple[Cell, str]]:
    """Yield every combination of the file in canonical form, with what made it canonical."""
    for block in spec.grid:
        sets = [_features(spec, names) for names in block.features]
        trainings = list(_trainings(spec.training, block))
        partitions = block.partition or (Partition.model_validate(AS_PUBLISHED),)
        axes = (sets, block.technique, block.fusion, partitions, trainings, spec.fractions)
        for features, technique, fusion, partition, training, fraction in itertools.product(*axes):
            yield _canonical(features, technique, fusion, partition, fraction, training)


def _features(spec: StudySpec, names: tuple[str, ...]) -> tuple[Feature, ...]:
    features = [Feature(name, spec.modality(name)) for name in names]
    return tuple(sorted(features, key=lambda f: (f.choice.word, f.key)))


def _trainings(base: Training, block: Grid) -> Iterator[Training]:
    names = list(block.training)
    for values in itertools.product(*block.training.values()):
        given: dict[str, Any] = dict(zip(names, values, strict=True))
        yield Training.model_validate({**base.model_dump(), **given})


def _canonical(
    features: tuple[Feature, ...],
    technique: str,
    fusion: Fusion,
    partition: Partition,
    fraction: float,
    training: Training,
) -> tuple[Cell, str]:
    """Clear the fields that cannot matter; the second value says why."""
    if len(features) == 1:
        reason = "a single modality makes techniques and operators equal"
        return Cell(features, "single", None, None, fraction, training), reason
    if technique == "mlp_head":
        reason = "the MLP head has no label partition"
        return Cell(features, technique, fusion, None, fraction, training), reason
    if technique == "label_balancer":
        reason = "the label balancer has no fusion operator"
        return Cell(features, technique, None, partition, fraction, training), reason
    reason = "averaging independent models has no fusion operator or partition"
    return Cell(features, technique, None, None, fraction, training), reason
