"""What will run: the grid expanded to distinct cells, merged duplicates, fits and expected time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from study.config.components import OperatorConfig, PartitionConfig
from study.config.grid import WORD_AXES
from study.config.study import StudySpec
from study.config.training import TrainingConfig
from study.errors import InputError
from study.planning.trials import Arm, NamedModality, Trial, iterate_trials

Words = tuple[str, OperatorConfig, PartitionConfig]
MOST_ASKED = 100_000
"""Combinations of a plan, which takes a minute then."""
TWICE = "the file asks for it twice"


@dataclass(frozen=True)
class Plan:
    """The distinct work of a study.

    Attributes
    ----------
    cells : tuple of Arm
        Every arm once, in the order of the file.
    asked : int
        Combinations the file asks for.
    merged : mapping of reason to count
        Combinations that equal another arm, with the reason.
    added : tuple of Arm
        Arms nobody asked for that a control needs (members of ``independent_mean``).
    repeats, folds, seeds
        The repeat axis, shared by all arms.
    """

    cells: tuple[Arm, ...]
    asked: int
    merged: dict[str, int]
    added: tuple[Arm, ...]
    repeats: int
    folds: int
    seeds: tuple[int, ...]

    @property
    def per_cell(self) -> int:
        """Trials of one cell."""
        return self.repeats * self.folds * len(self.seeds)

    @property
    def averages(self) -> int:
        """Trials that average others and train nothing."""
        means = sum(cell.technique == "independent_mean" for cell in self.cells)
        return means * self.per_cell

    @property
    def fits(self) -> int:
        """Heads to train: one a trial, and one for each configuration of its search."""
        heads = (
            1 + cell.search.budget if cell.search else 1
            for cell in self.cells
            if cell.technique != "independent_mean"
        )
        return sum(heads) * self.per_cell

    def trials(self) -> Iterator[Trial]:
        """Yield every trial: members before the averages that need them."""
        ordered = sorted(self.cells, key=lambda cell: cell.technique == "independent_mean")
        for cell in ordered:
            yield from self.trials_of(cell)

    def trials_of(self, cell: Arm) -> Iterator[Trial]:
        """Yield the trials of one cell."""
        yield from iterate_trials(cell, repeats=self.repeats, folds=self.folds, seeds=self.seeds)


def make_plan(spec: StudySpec) -> Plan:
    """Expand the grid of a study into distinct cells.

    Combinations that build the same model are merged, and the reason is counted; a control
    that needs further arms gets them.

    Raises
    ------
    InputError
        The grid asks for more combinations than anyone could compare.
    """
    _check_size(spec)
    cells: dict[str, Arm] = {}
    seen: dict[tuple[object, ...], Arm] = {}
    words: dict[str, Words] = {}
    merged: Counter[str] = Counter()
    asked = 0
    for cell, written, reason in _asked(spec):
        asked += 1
        known = seen.setdefault(_parts(cell), cell)  # an identity takes longer than a cell
        if known is not cell or cells.setdefault(cell.id, cell) is not cell:
            merged[TWICE if words[known.id] == written else reason] += 1
        else:
            words[cell.id] = written
    added: dict[str, Arm] = {}
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


def _check_size(spec: StudySpec) -> None:
    """Refuse a grid that would take hours to write down: axes multiply quickly."""
    asked = sum(block.size for block in spec.grid) * len(spec.fractions)
    if asked > MOST_ASKED:
        raise InputError(
            f"the grid asks for up to {asked:,} combinations, more than {MOST_ASKED:,}; name fewer "
            "values, or use the design one_at_a_time"
        )


def _asked(spec: StudySpec) -> Iterator[tuple[Arm, Words, str]]:
    """Yield every combination: in canonical form, as it is written, and what made it canonical."""
    sets: dict[tuple[str, ...], tuple[NamedModality, ...]] = {}
    trainings: dict[str, TrainingConfig] = {}
    for values in (values for block in spec.grid for values in block.combinations()):
        names, given = values["features"], {k: v for k, v in values.items() if k in _NUMBERS}
        key = repr(given)
        if names not in sets:
            sets[names] = _features(spec, names)
        if key not in trainings:
            trainings[key] = TrainingConfig.model_validate({**spec.training.model_dump(), **given})
        technique, fusion, partition = (values[name] for name in WORD_AXES[1:])
        for fraction in spec.fractions:
            cell, reason = _canonical(
                sets[names], technique, fusion, partition, fraction, trainings[key]
            )
            arm = _with_widths(cell, values.get("widths"))
            arm = replace(arm, search=spec.search) if spec.search else arm
            yield arm, (technique, fusion, partition), reason


def _parts(cell: Arm) -> tuple[object, ...]:
    """Return the very objects of a cell: it is equal to another that has the same ones."""
    words = (id(cell.fusion), id(cell.partition), id(cell.training))
    return (id(cell.features), cell.technique, cell.fraction, *words)


def _with_widths(cell: Arm, widths: tuple[int, ...] | None) -> Arm:
    """Give a head other hidden widths; what it shares with other arms stays as it was asked."""
    if widths is None or widths == cell.training.hidden:
        return cell
    return replace(
        cell, training=cell.training.model_copy(update={"hidden": widths}), asked=cell.training
    )


_NUMBERS = frozenset(TrainingConfig.model_fields)


def _features(spec: StudySpec, names: tuple[str, ...]) -> tuple[NamedModality, ...]:
    features = [NamedModality(name, spec.modality(name)) for name in names]
    return tuple(sorted(features, key=lambda f: (f.choice.word, f.key)))


def _canonical(
    features: tuple[NamedModality, ...],
    technique: str,
    fusion: OperatorConfig,
    partition: PartitionConfig,
    fraction: float,
    training: TrainingConfig,
) -> tuple[Arm, str]:
    """Clear the fields that cannot matter; the second value says why."""
    if len(features) == 1:
        reason = "a single modality makes techniques and operators equal"
        return Arm(features, "single", None, None, fraction, training), reason
    if technique == "mlp_head":
        reason = "the MLP head has no label partition"
        return Arm(features, technique, fusion, None, fraction, training), reason
    if technique == "label_balancer":
        reason = "the label balancer has no fusion operator"
        return Arm(features, technique, None, partition, fraction, training), reason
    reason = "averaging independent models has no fusion operator or partition"
    return Arm(features, technique, None, None, fraction, training), reason
