"""What will run: the grid expanded to distinct arms, merged duplicates, fits and expected time."""

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
    arms : tuple of Arm
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

    arms: tuple[Arm, ...]
    asked: int
    merged: dict[str, int]
    added: tuple[Arm, ...]
    repeats: int
    folds: int
    seeds: tuple[int, ...]

    @property
    def per_arm(self) -> int:
        """Trials of one arm."""
        return self.repeats * self.folds * len(self.seeds)

    @property
    def averages(self) -> int:
        """Trials that average others and train nothing."""
        means = sum(arm.technique == "independent_mean" for arm in self.arms)
        return means * self.per_arm

    @property
    def fits(self) -> int:
        """Heads to train: one a trial, and one for each configuration of its search."""
        heads = (
            1 + arm.search.budget if arm.search else 1
            for arm in self.arms
            if arm.technique != "independent_mean"
        )
        return sum(heads) * self.per_arm

    def trials(self) -> Iterator[Trial]:
        """Yield every trial: members before the averages that need them."""
        ordered = sorted(self.arms, key=lambda arm: arm.technique == "independent_mean")
        for arm in ordered:
            yield from self.trials_of(arm)

    def trials_of(self, arm: Arm) -> Iterator[Trial]:
        """Yield the trials of one arm."""
        yield from iterate_trials(arm, repeats=self.repeats, folds=self.folds, seeds=self.seeds)


def make_plan(spec: StudySpec) -> Plan:
    """Expand the grid of a study into distinct arms.

    Combinations that build the same model are merged, and the reason is counted; a control
    that needs further arms gets them.

    Raises
    ------
    InputError
        The grid asks for more combinations than anyone could compare.
    """
    _check_size(spec)
    arms: dict[str, Arm] = {}
    seen: dict[tuple[object, ...], Arm] = {}
    words: dict[str, Words] = {}
    merged: Counter[str] = Counter()
    asked = 0
    for arm, written, reason in _asked(spec):
        asked += 1
        known = seen.setdefault(_parts(arm), arm)  # an identity takes longer than an arm
        if known is not arm or arms.setdefault(arm.id, arm) is not arm:
            merged[TWICE if words[known.id] == written else reason] += 1
        else:
            words[arm.id] = written
    added: dict[str, Arm] = {}
    for arm in list(arms.values()):
        if arm.technique == "independent_mean":
            members = (arm.single(feature) for feature in arm.features)
            added |= {member.id: member for member in members if member.id not in arms}
    return Plan(
        arms=(*arms.values(), *added.values()),
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
            arm, reason = _canonical(
                sets[names], technique, fusion, partition, fraction, trainings[key]
            )
            arm = _with_widths(arm, values.get("widths"))
            arm = replace(arm, search=spec.search) if spec.search else arm
            yield arm, (technique, fusion, partition), reason


def _parts(arm: Arm) -> tuple[object, ...]:
    """Return the very objects of an arm: it is equal to another that has the same ones."""
    words = (id(arm.fusion), id(arm.partition), id(arm.training))
    return (id(arm.features), arm.technique, arm.fraction, *words)


def _with_widths(arm: Arm, widths: tuple[int, ...] | None) -> Arm:
    """Give a head other hidden widths; what it shares with other arms stays as it was asked."""
    if widths is None or widths == arm.training.hidden:
        return arm
    return replace(
        arm, training=arm.training.model_copy(update={"hidden": widths}), asked=arm.training
    )


_NUMBERS = frozenset(TrainingConfig.model_fields)


def _features(spec: StudySpec, names: tuple[str, ...]) -> tuple[NamedModality, ...]:
    features = [NamedModality(name, spec.modality(name)) for name in names]
    return tuple(sorted(features, key=lambda f: (f.choice.name, f.key)))


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
