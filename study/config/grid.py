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

ARM_AXES = ("features", "technique", "fusion", "partition")


def check_feature_sets(sets: tuple[tuple[str, ...], ...], info: ValidationInfo) -> None:
    """Reject sets that are empty, list a modality twice, or have an unknown name."""
    for names in sets:
        if not names or len(set(names)) != len(names):
            raise ValueError(
                f"{list(names)}: a feature set lists one or more modalities, each once"
            )
    if isinstance(info.context, ValidationContext) and info.context.names is not None:
        check_modality_names({name for names in sets for name in names}, info.context.names)


def check_modality_names(used: Collection[str], defined: Collection[str]) -> None:
    """Reject features that are neither a modality nor defined in the section ``modalities``."""
    registry = Registry("modality")
    unknown = sorted(set(used) - set(defined))
    mistakes = [text for name in unknown for text in registry.check(name, {})]
    if mistakes:
        raise ValueError("; ".join([*mistakes, f"or a name of 'modalities': {sorted(defined)}"]))


def check_single_modality(techniques: Collection[str], sets: Collection[tuple[str, ...]]) -> None:
    """Reject the technique ``single`` for several modalities."""
    multimodal = [names for names in sets if len(names) > 1]
    if "single" in techniques and multimodal:
        raise ValueError(
            f"'single' takes one modality, not {list(multimodal[0])}; "
            "put single modalities into their own grid block"
        )


def check_partition(partitions: Collection[PartitionConfig], techniques: Collection[str]) -> None:
    """Reject label partitions if no technique uses one."""
    if partitions and "label_balancer" not in techniques:
        raise ValueError(
            f"a label partition ({', '.join(map(str, partitions))}) needs the technique "
            "'label_balancer'; add it to 'technique' or remove 'partition'"
        )


def check_training_axes(axes: Mapping[str, tuple[Any, ...]]) -> None:
    """Reject axes that are not training settings, and values that a setting cannot have."""
    mistakes = [text for key, values in axes.items() for text in _find_mistakes(key, values)]
    if mistakes:
        raise ValueError("; ".join(mistakes))


def _find_mistakes(key: str, values: tuple[Any, ...]) -> list[str]:
    """Return the mistakes in one training axis of a grid block."""
    if key not in TrainingConfig.model_fields:
        return [
            f"'{key}' is not a training setting; allowed: {', '.join(TrainingConfig.model_fields)}"
        ]
    if not values:
        return [f"'{key}' must have at least one value"]
    mistakes = []
    for value in values:
        try:
            TrainingConfig(**{key: value})
        except ValidationError as error:
            mistakes += [f"'{key}' cannot be {value!r}: {item['msg']}" for item in error.errors()]
    return mistakes


def read_changes(component: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Read the replacement of a component; the caller checks the names of modalities."""
    read: dict[str, Any] = {}
    for key, value in changes.items():
        reader = _READERS.get(key)
        try:
            read[key] = reader.validate_python(value) if reader else value
        except ValidationError as error:
            reasons = "; ".join(item["msg"] for item in error.errors())
            raise ValueError(
                f"without '{component}': '{key}' cannot be {value!r}: {reasons}"
            ) from None
        if key in TrainingConfig.model_fields:
            check_training_axes({key: (value,)})
    return read


_READERS: Mapping[str, TypeAdapter[Any]] = {
    "technique": TypeAdapter(Technique),
    "fusion": TypeAdapter(OperatorConfig),
    "partition": TypeAdapter(PartitionConfig),
}


Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
DEFAULT_PARTITION = "random_per_batch"
"""The label partition of the label balancer if a block has none: that of the paper."""
AXES = (*ARM_AXES, *TrainingConfig.model_fields)


class ListedArm(ConfigModel):
    """One arm of an explicit list.

    Attributes
    ----------
    features : list of names
        The feature set: modalities, or names defined in ``modalities``.
    technique, fusion, partition
        As in a block, one value each.
    training : mapping
        Training settings that differ from the study's.
    widths : list of int, optional
        Hidden widths of this arm's head. The arm is still compared with the arms that share its
        other settings. With ``parameters: matched`` the launch chooses them.
    """

    features: tuple[str, ...]
    technique: Technique = "mlp_head"
    fusion: OperatorConfig = Field(default_factory=lambda: OperatorConfig.model_validate("concat"))
    partition: PartitionConfig | None = None
    training: Mapping[str, Any] = {}
    widths: Widths | None = None

    @field_validator("features")
    @classmethod
    def _check_features(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        check_feature_sets((value,), info)
        return value

    @field_validator("training")
    @classmethod
    def _check_training(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        check_training_axes({key: (number,) for key, number in value.items()})
        return value

    @model_validator(mode="after")
    def _check_technique(self) -> ListedArm:
        check_single_modality((self.technique,), (self.features,))
        if self.partition is not None:
            check_partition((self.partition,), (self.technique,))
        return self


class GridBlock(ConfigModel):
    """One block of the grid: axes that a design combines to arms, or a list of arms.

    Attributes
    ----------
    arms : list of arms
        An explicit list; the block then has no other key.
    design : {'factorial', 'one_at_a_time', 'leave_one_out', 'zipped'}
        ``factorial``: every combination; ``one_at_a_time``: the base (the first value of every
        axis) and one change of it per arm; ``leave_one_out``: the base and one arm without each
        component; ``zipped``: the i-th values of all axes together.
    features : list of lists of names
        Each inner list is one feature set: modalities, or names defined in ``modalities``.
    technique : list of names
        How the head is trained.
    fusion : list of operators
        How embeddings are fused by ``mlp_head``.
    partition : list of label partitions
        Which modality is trained on which label; needs ``label_balancer`` among the techniques.
    training : mapping of a training setting to its values
        Further axes, for example ``{dropout: [0.1, 0.3]}``.
    when : mapping of axis to condition
        The axis varies only where the condition holds and has its first value elsewhere, for
        example ``{dropout: {technique: label_balancer}}``.
    without : mapping of component to replacement
        For ``leave_one_out``: further components besides the modalities of the set, each with its
        replacement, for example ``{pretraining: {graph: graph_random}}``.
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
    def _check_sets(
        cls, value: tuple[tuple[str, ...], ...], info: ValidationInfo
    ) -> tuple[tuple[str, ...], ...]:
        if info.data.get("arms", True):
            if value:
                raise ValueError("a block has either 'arms' or axes; use two blocks")
            return value
        if not value:
            raise PydanticKnownError("missing")
        check_feature_sets(value, info)
        return value

    @field_validator("technique")
    @classmethod
    def _check_techniques(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        check_single_modality(value, info.data.get("features", ()))
        return value

    @field_validator("partition")
    @classmethod
    def _check_partitions(
        cls, value: tuple[PartitionConfig, ...], info: ValidationInfo
    ) -> tuple[PartitionConfig, ...]:
        check_partition(value, info.data.get("technique", ("label_balancer",)))
        return value

    @field_validator("training")
    @classmethod
    def _check_training(cls, value: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, ...]]:
        check_training_axes(value)
        return value

    @field_validator("without")
    @classmethod
    def _read_replacements(
        cls, value: Mapping[str, Mapping[str, Any]], info: ValidationInfo
    ) -> Mapping[str, Mapping[str, Any]]:
        read = {name: read_changes(name, changes) for name, changes in value.items()}
        modalities = {str(new) for c in read.values() for k, new in c.items() if k not in AXES}
        if isinstance(info.context, ValidationContext) and info.context.names is not None:
            check_modality_names(modalities, info.context.names)
        return read

    @model_validator(mode="after")
    def _check_block_design(self) -> GridBlock:
        if self.arms:
            others = {name: f for name, f in GridBlock.model_fields.items() if name != "arms"}
            defaults = {
                name: f.get_default(call_default_factory=True) for name, f in others.items()
            }
            changed = [name for name, value in defaults.items() if getattr(self, name) != value]
            if changed:
                raise ValueError(f"a block with 'arms' has no '{changed[0]}'; set it in the arms")
            return self
        check_design(self.design, self.axes, self.when, self.without)
        return self

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Values of every axis; the last axis varies fastest."""
        partition = self.partition or (PartitionConfig.model_validate(DEFAULT_PARTITION),)
        values = (self.features, self.technique, self.fusion, partition)
        return {**dict(zip(ARM_AXES, values, strict=True)), **self.training}

    @property
    def size(self) -> int:
        """Number of combinations of the block, before ``when`` removes some."""
        if self.arms or self.design != "factorial":
            return len(self.arms) or sum(map(len, self.axes.values()))
        return prod(map(len, self.axes.values()))

    def combinations(self) -> Iterator[Values]:
        """Yield the values of all axes for every arm of the block."""
        for arm in self.arms:
            partition = arm.partition or PartitionConfig.model_validate(DEFAULT_PARTITION)
            values = (arm.features, arm.technique, arm.fusion, partition)
            widths = {"widths": arm.widths} if arm.widths else {}
            yield {**dict(zip(ARM_AXES, values, strict=True)), **arm.training, **widths}
        if not self.arms:
            yield from combine_axes(self.design, self.axes, self.when, self.without)
