"""Components that a study file names: modalities, operators and partitions, with options."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator

from modalities import ModalityError, find_model_card, find_weights, sha256_of
from study.config.base import ConfigModel, ValidationContext
from study.config.training import TrainingConfig
from study.plugins.registry import Registry

Scalar = str | int | float | bool | None
STORED_NAME = "word"
"""Key of a component's name in stored files and in the values that identities are hashed from."""
RANDOM = "random"
"""Value of the option ``weights`` for random starting weights."""


class Component(ConfigModel):
    """A registered component with its options: ``concat`` or ``{operator: concat, stage: logit}``.

    A mapping can also hold the further fields of a subclass, next to the options.

    Attributes
    ----------
    key : str
        Family of the component (`study.plugins.registry.FAMILIES`), and the key of its name in a
        mapping.
    name : str
        Name in that family. Stored files and identities have it under the key ``word``.
    options : mapping
        Every keyword-only parameter of the component's class, defaults filled in.
    """

    key: ClassVar[str]
    name: str = Field(alias="word")
    options: Mapping[str, Scalar] = {}

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        return value if _is_dumped(value, info) else cls._fields(value)

    @classmethod
    def _fields(cls, value: object) -> dict[str, Any]:
        """Turn ``name`` or ``{key: name, option: value}`` into the fields of the class."""
        mapping: object = {cls.key: value} if isinstance(value, str) else value
        if not isinstance(mapping, Mapping) or not isinstance(mapping.get(cls.key), str):
            raise ValueError(  # noqa: TRY004 (pydantic collects ValueError only)
                f"must be a name or a mapping with the key '{cls.key}', not {mapping!r}"
            )
        # Every key that is not a field of the subclass is an option of the component.
        further = cls.model_fields.keys() - Component.model_fields.keys()
        fields = {name: field for name, field in mapping.items() if name in further}
        options = {k: option for k, option in mapping.items() if k not in {*further, cls.key}}
        name = mapping[cls.key]
        return {STORED_NAME: name, "options": Registry(cls.key).complete(name, options), **fields}

    def __str__(self) -> str:
        """Return the name with the options that differ from their defaults."""
        known = Registry(self.key).parameters(self.name)
        values = {key: self.options.get(key, option.default) for key, option in known.items()}
        text = ", ".join(f"{key}={v}" for key, v in values.items() if v != known[key].default)
        return f"{self.name}({text})" if text else self.name

    def json_value(self) -> dict[str, Any]:
        """Return the JSON value that identities are hashed from."""
        return {STORED_NAME: self.name, **self.options}


def _is_dumped(value: object, info: ValidationInfo) -> bool:
    """Return whether a value was dumped by a `Component` and so has its fields already.

    Values from a study file come with a `ValidationContext`; they must use the public spelling.
    """
    from_file = isinstance(info.context, ValidationContext)
    dumped = isinstance(value, Mapping) and STORED_NAME in value and not from_file
    return dumped or isinstance(value, Component)


class EncoderConfig(Component):
    """A modality with its options: ``{modality: smiles, layers: 3}``.

    Weights need their sha256; weights written by `study pretrain` have it on their model card.
    """

    key: ClassVar[str] = "modality"

    @classmethod
    def _fields(cls, value: object) -> dict[str, Any]:
        fields = super()._fields(value)
        return {**fields, "options": _add_hash_of_card(fields["options"])}

    @model_validator(mode="after")
    def _check_hash(self) -> EncoderConfig:
        if self.weights is not None and not self.options.get("sha256"):
            raise ValueError(_format_missing_hash(self.weights))
        return self

    @property
    def weights(self) -> str | None:
        """Path of the starting weights; None if they are random or the encoder has none."""
        weights = self.options.get("weights", RANDOM)
        return None if weights in (None, RANDOM) else str(weights)

    def json_value(self) -> dict[str, Any]:
        """Return the JSON value that identities are hashed from: weights by sha256, not by path."""
        excluded = {"weights", "sha256"} if self.weights is None else {"weights"}
        return {name: v for name, v in super().json_value().items() if name not in excluded}


def _add_hash_of_card(options: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """Add the sha256 from the model card of the weights, unless the options have one."""
    weights = options.get("weights", RANDOM)
    if not isinstance(weights, str) or weights == RANDOM:
        return options
    file = _find_weights(weights)
    if options.get("sha256"):
        return options
    try:
        card = find_model_card(file) if file else None
    except ModalityError:  # reported by `_check_hash`
        return options
    return options if card is None else {**options, "sha256": card.sha256}


def _find_weights(weights: str) -> Path | None:
    """Return the file of the weights; None if it does not exist.

    Raises
    ------
    ValueError
        The text cannot be a path.
    """
    try:
        return find_weights(weights)
    except ModalityError:
        return None
    except (OSError, RuntimeError) as error:  # too long for a file name; an unknown ~user
        raise ValueError(f"'weights' cannot be '{weights}': {error}") from error


def _format_missing_hash(weights: str) -> str:
    """Return the message for weights without a sha256, or for weights that do not exist."""
    try:
        sha256 = sha256_of(find_weights(weights))
    except ModalityError as error:
        return f"{error}; `study pretrain` creates such a folder"
    return (
        "'weights' needs the 'sha256' of the file, so that the study is reproducible and no other "
        f"file is loaded; if {weights} is the right file, add 'sha256: {sha256}'"
    )


Calibration = Literal["frozen", "finetune", "joint"]


class OperatorConfig(Component):
    """A fusion operator, for example ``{operator: parallel, stage: logit, combine: mean}``."""

    key: ClassVar[str] = "operator"


class PartitionConfig(Component):
    """A label partition, for example ``density`` or ``{partition: affinity, shrinkage: 5}``."""

    key: ClassVar[str] = "partition"


class ModalityConfig(EncoderConfig):
    """A modality with its options, and how its encoder is trained within the study.

    Attributes
    ----------
    calibration : {'frozen', 'finetune', 'joint'}, optional
        ``frozen``: the starting weights are used as they are; ``finetune``: the encoder is
        trained with its own head, then its embeddings are stored; ``joint``: it is trained through
        the fusion operator. Default: ``frozen`` for a fitted transform or for named weights,
        otherwise ``finetune``.
    training : TrainingConfig
        Settings of the encoder's own training (``finetune``), independent of the arms' settings,
        so that all arms share one encoder.
    """

    calibration: Calibration | None = None
    training: TrainingConfig = Field(default_factory=TrainingConfig)

    @model_validator(mode="after")
    def _check_calibration(self) -> ModalityConfig:
        if not self.trainable and self.calibration in ("finetune", "joint"):
            raise ValueError(
                f"'{self.name}' is a fitted transform without weights: calibration "
                f"'{self.calibration}' has nothing to train; use 'frozen'"
            )
        return self

    @cached_property
    def trainable(self) -> bool:
        """Whether the encoder has weights; cached, because every arm of a grid needs it."""
        return bool(Registry("modality").load(self.name).trainable)

    @cached_property
    def fitted(self) -> bool:
        """Whether the encoder learns statistics from the training rows."""
        return bool(Registry("modality").load(self.name).fitted)

    @property
    def resolved(self) -> Calibration:
        """The calibration, with the default resolved."""
        if self.calibration is not None:
            return self.calibration
        return "finetune" if self.trainable and self.weights is None else "frozen"

    def json_value(self) -> dict[str, Any]:
        """Return the JSON value that identities are hashed from."""
        value = {**super().json_value(), "calibration": self.resolved}
        if self.resolved == "finetune":
            value["training"] = self.training.model_dump(mode="json")
        return value
