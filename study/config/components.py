"""Components of an arm in the study file: modalities, operators, partitions, with options."""

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
"""The key of a component's name in stored files and in the values that identities are made of."""
RANDOM = "random"
"""The value of the option ``weights`` that stands for random starting weights."""


class Component(ConfigModel):
    """A registered component with its options: ``concat`` or ``{operator: concat, stage: logit}``.

    A mapping may also give the further fields of a subclass, beside the options.

    Attributes
    ----------
    key : str
        Family of the component (`study.plugins.registry.FAMILIES`), and the key of a mapping
        that holds its name.
    name : str
        Its name in that family. Stored files and identities call it ``word``.
    options : mapping
        Every keyword-only parameter of its class, defaults filled in.
    """

    key: ClassVar[str]
    name: str = Field(alias="word")
    options: Mapping[str, Scalar] = {}

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        return value if _is_read(value, info) else cls._fields(value)

    @classmethod
    def _fields(cls, value: object) -> dict[str, Any]:
        """Turn ``name`` or ``{key: name, option: value}`` into the fields of the class."""
        given: object = {cls.key: value} if isinstance(value, str) else value
        if not isinstance(given, Mapping) or not isinstance(given.get(cls.key), str):
            raise ValueError(  # noqa: TRY004 (pydantic collects ValueError only)
                f"must be a name or a mapping with the key '{cls.key}', not {given!r}"
            )
        further = cls.model_fields.keys() - Component.model_fields.keys()
        fields = {name: field for name, field in given.items() if name in further}
        options = {k: option for k, option in given.items() if k not in {*further, cls.key}}
        name = given[cls.key]
        return {STORED_NAME: name, "options": Registry(cls.key).complete(name, options), **fields}

    def __str__(self) -> str:
        """Return the name with the options that differ from their defaults."""
        known = Registry(self.key).options(self.name)
        given = {key: self.options.get(key, option.default) for key, option in known.items()}
        shown = ", ".join(f"{key}={v}" for key, v in given.items() if v != known[key].default)
        return f"{self.name}({shown})" if shown else self.name

    def json_value(self) -> dict[str, Any]:
        """Return the plain value that identities are made of."""
        return {STORED_NAME: self.name, **self.options}


def _is_read(value: object, info: ValidationInfo) -> bool:
    """Whether a value already has the fields of a `Component`: it was dumped by one.

    A file is read with the context `ValidationContext` and has to use the public spelling, which is
    checked.
    """
    written = isinstance(info.context, ValidationContext)
    dumped = isinstance(value, Mapping) and STORED_NAME in value and not written
    return dumped or isinstance(value, Component)


class EncoderConfig(Component):
    """A modality with its options: ``{modality: smiles, layers: 3}``.

    Weights are named with their hash; those made here bring it on their card.
    """

    key: ClassVar[str] = "modality"

    @classmethod
    def _fields(cls, value: object) -> dict[str, Any]:
        fields = super()._fields(value)
        return {**fields, "options": _with_hash(fields["options"])}

    @model_validator(mode="after")
    def _hashed(self) -> EncoderConfig:
        if self.weights is not None and not self.options.get("sha256"):
            raise ValueError(_lacks_hash(self.weights))
        return self

    @property
    def weights(self) -> str | None:
        """Where the starting weights are; None if they are random or there are none."""
        given = self.options.get("weights", RANDOM)
        return None if given in (None, RANDOM) else str(given)

    def json_value(self) -> dict[str, Any]:
        """Return the plain value that identities are made of; weights count by their content."""
        place = {"weights", "sha256"} if self.weights is None else {"weights"}
        return {name: v for name, v in super().json_value().items() if name not in place}


def _with_hash(options: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """Take the hash of weights made here from their card, where none is given."""
    weights = options.get("weights", RANDOM)
    if not isinstance(weights, str) or weights == RANDOM:
        return options
    file = _found(weights)
    if options.get("sha256"):
        return options
    try:
        card = find_model_card(file) if file else None
    except ModalityError:  # `_lacks_hash` says it
        return options
    return options if card is None else {**options, "sha256": card.sha256}


def _found(weights: str) -> Path | None:
    """Return the file of weights, None if there is none; refuse what can be no path."""
    try:
        return find_weights(weights)
    except ModalityError:
        return None
    except (OSError, RuntimeError) as error:  # longer than a file name; ~nobody
        raise ValueError(f"'weights' cannot be '{weights}': {error}") from error


def _lacks_hash(weights: str) -> str:
    """Say what to write beside weights, or that there are none."""
    try:
        known = sha256_of(find_weights(weights))
    except ModalityError as error:
        return f"{error}; `study pretrain` makes such a folder"
    return (
        "'weights' needs the 'sha256' of the file beside it, so that the study is reproducible and "
        f"nothing else is loaded; if {weights} is what you mean, add 'sha256: {known}'"
    )


Calibration = Literal["frozen", "finetune", "joint"]


class OperatorConfig(Component):
    """A fusion operator, for example ``{operator: parallel, stage: logit, combine: mean}``."""

    key: ClassVar[str] = "operator"


class PartitionConfig(Component):
    """A label partition, for example ``density`` or ``{partition: affinity, shrinkage: 5}``."""

    key: ClassVar[str] = "partition"


class ModalityConfig(EncoderConfig):
    """A modality with its options and how its encoder is calibrated.

    Attributes
    ----------
    calibration : {'frozen', 'finetune', 'joint'}, optional
        ``frozen``: starting weights as they are; ``finetune``: trained with a head of its own,
        then its embeddings are kept; ``joint``: trained through the fusion operator.
        Without it: ``frozen`` for a fitted transform or given weights, otherwise ``finetune``.
    training : TrainingConfig
        Numbers of the encoder's own training (``finetune``), whatever the arms' numbers are, so
        that all arms share one encoder.
    """

    calibration: Calibration | None = None
    training: TrainingConfig = Field(default_factory=TrainingConfig)

    @model_validator(mode="after")
    def _consistent(self) -> ModalityConfig:
        if not self.trainable and self.calibration in ("finetune", "joint"):
            raise ValueError(
                f"'{self.name}' is a fitted transform without weights: calibration "
                f"'{self.calibration}' has nothing to train; use 'frozen'"
            )
        return self

    @cached_property
    def trainable(self) -> bool:
        """Whether the encoder has weights; kept, since every arm of a grid asks."""
        return bool(Registry("modality").load(self.name).trainable)

    @cached_property
    def fitted(self) -> bool:
        """Whether the encoder learns statistics from the training rows."""
        return bool(Registry("modality").load(self.name).fitted)

    @property
    def resolved(self) -> Calibration:
        """The calibration in force."""
        if self.calibration is not None:
            return self.calibration
        return "finetune" if self.trainable and self.weights is None else "frozen"

    def json_value(self) -> dict[str, Any]:
        """Return the plain value that identities are made of."""
        value = {**super().json_value(), "calibration": self.resolved}
        if self.resolved == "finetune":
            value["training"] = self.training.model_dump(mode="json")
        return value
