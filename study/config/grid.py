"""Blocks of the grid: axes, listed arms, designs and conditions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import prod
from typing import Annotated, Any

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from study.config.base import ConfigModel, ValidationContext
from study.config.components import OperatorConfig, PartitionConfig
from study.config.designs import Condition, Design, Technique, Values, check_design, combine_axes
from study.config.training import TrainingConfig
from study.plugins.registry import Registry

WORD_AXES = ("features", "technique", "fusion", "partition")


def check_sets(sets: tuple[tuple[str, ...], ...], info: ValidationInfo) -> None:
    """Refuse sets that are empty or name a modality twice, and names that nobody gave."""
    for names in sets:
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{list(names)}: a feature set names one or more modalities once")
    if isinstance(info.context, ValidationContext) and info.context.names is not None:
        check_modality_names({name for names in sets for name in names}, info.context.names)


def check_modality_names(used: Collection[str], named: Collection[str]) -> None:
    """Refuse features that are neither a modality nor a name of the section ``modalities``."""
    vocabulary = Registry("modality")
    unknown = sorted(set(used) - set(named))
    mistakes = [text for name in unknown for text in vocabulary.check(name, {})]
    if mistakes:
        raise ValueError("; ".join([*mistakes, f"or a name of 'modalities': {sorted(named)}"]))


def check_single_modality(techniques: Collection[str], sets: Collection[tuple[str, ...]]) -> None:
    """Refuse the technique ``single`` for several modalities."""
    wide = [names for names in sets if len(names) > 1]
    if "single" in techniques and wide:
        raise ValueError(
            f"'single' takes one modality, not {list(wide[0])}; "
            "give single modalities a grid block of their own"
        )


def check_partition(partitions: Collection[PartitionConfig], techniques: Collection[str]) -> None:
    """Refuse label partitions where no technique has one."""
    if partitions and "label_balancer" not in techniques:
        raise ValueError(
            f"a label partition ({', '.join(map(str, partitions))}) needs the technique "
            "'label_balancer'; add it to 'technique' or remove 'partition'"
        )


def check_numbers(axes: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse axes that are no training numbers, and values that such a number cannot have."""
    mistakes = [text for key, values in axes.items() for text in _axis_faults(key, values)]
    if mistakes:
        raise ValueError("; ".join(mistakes))


def _axis_faults(key: str, values: tuple[Any, ...]) -> list[str]:
    """Return what is wrong with one training axis of a grid block."""
    if key not in TrainingConfig.model_fields:
        return [
            f"'{key}' is not a training number; allowed: {', '.join(TrainingConfig.model_fields)}"
        ]
    if not values:
        return [f"'{key}' must name at least one value"]
    faults = []
    for each in values:
        try:
            TrainingConfig(**{key: each})
        except ValidationError as error:
            faults += [f"'{key}' cannot be {each!r}: {fault['msg']}" for fault in error.errors()]
    return faults


def read_changes(component: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Read what stands in for a component; names of modalities are checked by the caller."""
    read: dict[str, Any] = {}
    for key, value in changes.items():
        reader = _READERS.get(key)
        try:
            read[key] = reader.validate_python(value) if reader else value
        except ValidationError as error:
            said = "; ".join(fault["msg"] for fault in error.errors())
            raise ValueError(
                f"without '{component}': '{key}' cannot be {value!r}: {said}"
            ) from None
        if key in TrainingConfig.model_fields:
            check_numbers({key: (value,)})
    return read


_READERS: Mapping[str, TypeAdapter[Any]] = {
    "technique": TypeAdapter(Technique),
    "fusion": TypeAdapter(OperatorConfig),
    "partition": TypeAdapter(PartitionConfig),
}


Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
AS_PUBLISHED = "random_per_batch"
"""The label partition where none is named."""
AXES = (*WORD_AXES, *TrainingConfig.model_fields)


class ListedArm(ConfigModel):
    """One arm of an explicit list.

    Attributes
    ----------
    features : list of names
    technique, fusion, partition
        As in a block, one value each.
    training : mapping
        Training numbers that differ from the study's.
    widths : list of int, optional
        Hidden widths of this arm's head; it is still compared with the arms whose numbers it
        shares otherwise. `matching` of parameters writes them.
    """

    features: tuple[str, ...]
    technique: Technique = "mlp_head"
    fusion: OperatorConfig = Field(default_factory=lambda: OperatorConfig.model_validate("concat"))
    partition: PartitionConfig | None = None
    training: Mapping[str, Any] = {}
    widths: Widths | None = None

    @field_validator("features")
    @classmethod
    def _set(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        check_sets((value,), info)
        return value

    @field_validator("training")
    @classmethod
    def _numbers(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        check_numbers({key: (number,) for key, number in value.items()})
        return value

    @model_validator(mode="after")
    def _fitting(self) -> ListedArm:
        check_single_modality((self.technique,), (self.features,))
        if self.partition is not None:
            check_partition((self.partition,), (self.technique,))
        return self


class GridBlock(ConfigModel):
    """One block of the grid: arms made of axes by a design, or written one by one.

    Attributes
    ----------
    arms : list of arms
        An explicit list, in place of every other key.
    design : {'factorial', 'one_at_a_time', 'leave_one_out', 'zipped'}
        Every combination; the base (the first value of every axis) with one axis changed at a
        time; the base without one component at a time; the axes side by side.
    features : list of lists of names
        Each inner list is one feature set; names of ``modalities`` or modality words.
    technique, fusion, partition
        Axes; ``partition`` only where ``label_balancer`` is among the techniques.
    training : mapping of a training number to its values
        Further axes, for example ``{dropout: [0.1, 0.3]}``.
    when : mapping of axis to condition
        The axis leaves its first value only where the condition holds, for example
        ``{dropout: {technique: label_balancer}}``.
    without : mapping of component to replacement
        For ``leave_one_out``, beside each modality of the set: what stands in for a named
        component, for example ``{pretraining: {graph: graph_random}}``.
    """

    arms: tuple[ListedArm, ...] = ()
    design: Design = "factorial"
    features: Annotated[tuple[tuple[str, ...], ...], Field(validate_default=True)] = ()
    technique: tuple[Technique, ...] = Field(("mlp_head",), min_length=1)
    fusion: tuple[OperatorConfig, ...] = Field(
        default_factory=lambda: (OperatorConfig.model_validate("concat"),), min_length=1
    )
    partition: tuple[PartitionConfig, ...] = ()
    training: Mapping[str, tuple[Any, ...]] = {}
    when: Mapping[str, Condition] = {}
    without: Mapping[str, Mapping[str, Any]] = {}

    @field_validator("features")
    @classmethod
    def _sets(
        cls, value: tuple[tuple[str, ...], ...], info: ValidationInfo
    ) -> tuple[tuple[str, ...], ...]:
        if info.data.get("arms", True):
            if value:
                raise ValueError("a block has either 'arms' or axes; move one to its own block")
            return value
        if not value:
            raise PydanticKnownError("missing")
        check_sets(value, info)
        return value

    @field_validator("technique")
    @classmethod
    def _single_alone(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        check_single_modality(value, info.data.get("features", ()))
        return value

    @field_validator("partition")
    @classmethod
    def _balancer_only(
        cls, value: tuple[PartitionConfig, ...], info: ValidationInfo
    ) -> tuple[PartitionConfig, ...]:
        check_partition(value, info.data.get("technique", ("label_balancer",)))
        return value

    @field_validator("training")
    @classmethod
    def _training_axes(cls, value: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, ...]]:
        check_numbers(value)
        return value

    @field_validator("without")
    @classmethod
    def _replacements(
        cls, value: Mapping[str, Mapping[str, Any]], info: ValidationInfo
    ) -> Mapping[str, Mapping[str, Any]]:
        read = {name: read_changes(name, changes) for name, changes in value.items()}
        named = {str(new) for c in read.values() for k, new in c.items() if k not in AXES}
        if isinstance(info.context, ValidationContext) and info.context.names is not None:
            check_modality_names(named, info.context.names)
        return read

    @model_validator(mode="after")
    def _designed(self) -> GridBlock:
        if self.arms:
            own = {name: field for name, field in GridBlock.model_fields.items() if name != "arms"}
            plain = {name: f.get_default(call_default_factory=True) for name, f in own.items()}
            beside = [name for name, value in plain.items() if getattr(self, name) != value]
            if beside:
                raise ValueError(f"a block with 'arms' has no '{beside[0]}'; give it to the arms")
            return self
        check_design(self.design, self.axes, self.when, self.without)
        return self

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Values of every axis, in the order in which they vary: the last the fastest."""
        partition = self.partition or (PartitionConfig.model_validate(AS_PUBLISHED),)
        words = (self.features, self.technique, self.fusion, partition)
        return {**dict(zip(WORD_AXES, words, strict=True)), **self.training}

    @property
    def size(self) -> int:
        """Combinations of the block, before ``when`` takes some away."""
        if self.arms or self.design != "factorial":
            return len(self.arms) or sum(map(len, self.axes.values()))
        return prod(map(len, self.axes.values()))

    def combinations(self) -> Iterator[Values]:
        """Yield the value of every axis for each arm that the block asks for."""
        for arm in self.arms:
            partition = arm.partition or PartitionConfig.model_validate(AS_PUBLISHED)
            words = (arm.features, arm.technique, arm.fusion, partition)
            widths = {"widths": arm.widths} if arm.widths else {}
            yield {**dict(zip(WORD_AXES, words, strict=True)), **arm.training, **widths}
        if not self.arms:
            yield from combine_axes(self.design, self.axes, self.when, self.without)
