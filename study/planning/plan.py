"""The plan of a study: the grid expanded to distinct arms and their trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from study.config.components import OperatorConfig, PartitionConfig
from study.config.grid import ARM_AXES
from study.config.study import StudySpec
from study.config.training import TrainingConfig
from study.errors import InputError
from study.planning.trials import Arm, NamedModality, Trial, iterate_trials

if TYPE_CHECKING:
    from pandas import DataFrame

WrittenArm = tuple[str, OperatorConfig, PartitionConfig]
MAX_COMBINATIONS = 100_000
"""Largest number of combinations; a plan of so many takes a minute."""
REPEATED = "the file asks for it twice"


@dataclass(frozen=True, repr=False)
class Plan:
    """The distinct arms of a study and the trials of each.

    Attributes
    ----------
    arms : tuple of Arm
        Every arm once, in the order of the file.
    combinations : int
        Number of combinations in the file.
    merged : mapping of reason to count
        Number of combinations that equal another arm, by reason.
    added : tuple of Arm
        Arms that are not in the file but that a control needs (members of ``independent_mean``).
    repeats, folds, seeds
        The trials of every arm: seeds x repeats x folds.
    """

    arms: tuple[Arm, ...]
    combinations: int
    merged: dict[str, int]
    added: tuple[Arm, ...]
    repeats: int
    folds: int
    seeds: tuple[int, ...]

    @property
    def trials_per_arm(self) -> int:
        """Number of trials of one arm."""
        return self.repeats * self.folds * len(self.seeds)

    @property
    def averages(self) -> int:
        """Number of trials that average other trials and train nothing."""
        means = sum(arm.technique == "independent_mean" for arm in self.arms)
        return means * self.trials_per_arm

    @property
    def fits(self) -> int:
        """Number of heads to train: one per trial, and one per configuration of its search."""
        heads = (
            1 + arm.search.budget if arm.search else 1
            for arm in self.arms
            if arm.technique != "independent_mean"
        )
        return sum(heads) * self.trials_per_arm

    def components(self) -> set[tuple[str, str]]:
        """Return family and name of every component that a trial uses."""
        return {
            (component.key, component.name) for arm in self.arms for component in arm.components
        }

    def trials(self) -> Iterator[Trial]:
        """Yield every trial, members before the averages that need them."""
        ordered = sorted(self.arms, key=lambda arm: arm.technique == "independent_mean")
        for arm in ordered:
            yield from self.trials_of(arm)

    def trials_of(self, arm: Arm) -> Iterator[Trial]:
        """Yield the trials of one arm."""
        yield from iterate_trials(arm, repeats=self.repeats, folds=self.folds, seeds=self.seeds)

    def to_frame(self) -> DataFrame:
        """Return one row per arm.

        Returns
        -------
        DataFrame
            ``arm_id``, ``arm``, ``features``, ``technique``, ``fusion``, ``partition``,
            ``fraction``, ``trials``, and ``added`` (the arm is not in the file; a control needs
            it).
        """
        from pandas import DataFrame

        added = {arm.id for arm in self.added}
        return DataFrame(
            [
                {
                    "arm_id": arm.id,
                    "arm": str(arm),
                    **arm.params(),
                    "fraction": arm.fraction,
                    "trials": self.trials_per_arm,
                    "added": arm.id in added,
                }
                for arm in self.arms
            ]
        )

    def __repr__(self) -> str:
        return f"<Plan: {len(self.arms)} arms x {self.trials_per_arm} trials>"

    def _repr_html_(self) -> str:
        """Return the table of arms, as shown in a notebook."""
        html: str = self.to_frame().drop(columns="arm").to_html(index=False)
        return html


def make_plan(spec: StudySpec) -> Plan:
    """Expand the grid of a study into distinct arms.

    Combinations that build the same model are merged, and the reason is counted. Arms that a
    control needs are added.

    Raises
    ------
    InputError
        The grid has more than `MAX_COMBINATIONS` combinations.
    """
    _check_size(spec)
    arms: dict[str, Arm] = {}
    seen: dict[tuple[object, ...], Arm] = {}
    written_arms: dict[str, WrittenArm] = {}
    merged: Counter[str] = Counter()
    combinations = 0
    for arm, written, reason in _iterate_combinations(spec):
        combinations += 1
        # The digest of an arm is slow, so equal arms are first recognized by their objects.
        known = seen.setdefault(_build_identity_key(arm), arm)
        if known is not arm or arms.setdefault(arm.id, arm) is not arm:
            merged[REPEATED if written_arms[known.id] == written else reason] += 1
        else:
            written_arms[arm.id] = written
    added: dict[str, Arm] = {}
    for arm in list(arms.values()):
        if arm.technique == "independent_mean":
            members = (arm.to_single(feature) for feature in arm.features)
            added |= {member.id: member for member in members if member.id not in arms}
    return Plan(
        arms=(*arms.values(), *added.values()),
        combinations=combinations,
        merged=dict(merged),
        added=tuple(added.values()),
        repeats=spec.split.repeats,
        folds=spec.split.folds,
        seeds=spec.seeds,
    )


def _check_size(spec: StudySpec) -> None:
    """Reject a grid with too many combinations, before they are built."""
    combinations = sum(block.size for block in spec.grid) * len(spec.fractions)
    if combinations > MAX_COMBINATIONS:
        raise InputError(
            f"the grid asks for up to {combinations:,} combinations, more than "
            f"{MAX_COMBINATIONS:,}; use fewer values, or the design one_at_a_time"
        )


def _iterate_combinations(spec: StudySpec) -> Iterator[tuple[Arm, WrittenArm, str]]:
    """Yield every combination: its canonical arm, the values in the file, the reason to merge."""
    # Feature sets and training settings repeat, so each is validated once.
    sets: dict[tuple[str, ...], tuple[NamedModality, ...]] = {}
    trainings: dict[str, TrainingConfig] = {}
    for values in (values for block in spec.grid for values in block.combinations()):
        names = values["features"]
        settings = {key: value for key, value in values.items() if key in _TRAINING_SETTINGS}
        key = repr(settings)
        if names not in sets:
            sets[names] = _build_features(spec, names)
        if key not in trainings:
            trainings[key] = TrainingConfig.model_validate(
                {**spec.training.model_dump(), **settings}
            )
        technique, fusion, partition = (values[name] for name in ARM_AXES[1:])
        for fraction in spec.fractions:
            arm, reason = _to_canonical_arm(
                sets[names], technique, fusion, partition, fraction, trainings[key]
            )
            arm = _set_widths(arm, values.get("widths"))
            arm = replace(arm, search=spec.search) if spec.search else arm
            yield arm, (technique, fusion, partition), reason


def _build_identity_key(arm: Arm) -> tuple[object, ...]:
    """Return a key by the objects of an arm: arms with the same objects are equal."""
    objects = (id(arm.fusion), id(arm.partition), id(arm.training))
    return (id(arm.features), arm.technique, arm.fraction, *objects)


def _set_widths(arm: Arm, widths: tuple[int, ...] | None) -> Arm:
    """Return an arm with other hidden widths that is still compared by its original settings."""
    if widths is None or widths == arm.training.hidden:
        return arm
    return replace(
        arm, training=arm.training.model_copy(update={"hidden": widths}), file_training=arm.training
    )


_TRAINING_SETTINGS = frozenset(TrainingConfig.model_fields)


def _build_features(spec: StudySpec, names: tuple[str, ...]) -> tuple[NamedModality, ...]:
    features = [NamedModality(name, spec.modality(name)) for name in names]
    return tuple(sorted(features, key=lambda f: (f.config.name, f.key)))


def _to_canonical_arm(
    features: tuple[NamedModality, ...],
    technique: str,
    fusion: OperatorConfig,
    partition: PartitionConfig,
    fraction: float,
    training: TrainingConfig,
) -> tuple[Arm, str]:
    """Return the arm without fields that have no effect, and the reason why they have none."""
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
