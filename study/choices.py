"""The choices an arm is made of: vocabulary words with their options, and training numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from study.words import Vocabulary

Calibration = Literal["frozen", "finetune", "joint"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class FromFile:
    """Context of validation where the values were written by a person.

    Attributes
    ----------
    names : frozenset of str or None
        Names that the section ``modalities`` gives; None where it cannot be read.
    """

    names: frozenset[str] | None = None


class Section(BaseModel):
    """A part of the study file: frozen; unknown keys and infinite numbers refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: object) -> object:
        """Refuse true and false: no key is a switch, and Python would take them for 1 and 0."""
        if isinstance(value, bool):
            raise ValueError(f"must not be {str(value).lower()}")  # noqa: TRY004 (as `_word`)
        return value


class Word(Section):
    """A vocabulary word with its options: ``concat`` or ``{operator: concat, stage: logit}``.

    Attributes
    ----------
    word : str
        A public file name of the vocabulary's folder.
    options : mapping
        Every keyword-only parameter of the word's class, defaults filled in.
    """

    vocabulary: ClassVar[str]
    word: str
    options: Mapping[str, Scalar] = {}

    def __str__(self) -> str:
        """Write the word with the options that differ from their defaults."""
        known = Vocabulary(self.vocabulary).options(self.word)
        given = {key: self.options.get(key, option.default) for key, option in known.items()}
        shown = ", ".join(f"{key}={v}" for key, v in given.items() if v != known[key].default)
        return f"{self.word}({shown})" if shown else self.word

    def json_value(self) -> dict[str, Any]:
        """Return the plain value that identities are made of."""
        return {"word": self.word, **self.options}


def _is_read(value: object, info: ValidationInfo) -> bool:
    """Whether a value already has the fields of a `Word`: it was dumped by one.

    A file is read with the context `FromFile` and has to use the public spelling, which is
    checked.
    """
    written = isinstance(info.context, FromFile)
    dumped = isinstance(value, Mapping) and "word" in value and not written
    return dumped or isinstance(value, Word)


def _word(value: object, key: str, package: str) -> dict[str, Any]:
    """Turn ``name`` or ``{key: name, option: value}`` into the fields of a `Word`, checked."""
    if isinstance(value, str):
        value = {key: value}
    if not isinstance(value, Mapping) or not isinstance(value.get(key), str):
        raise ValueError(  # noqa: TRY004 (pydantic collects ValueError only)
            f"must be a name or a mapping with the key '{key}', not {value!r}"
        )
    options = {name: option for name, option in value.items() if name != key}
    return {"word": value[key], "options": Vocabulary(package).complete(value[key], options)}


class Fusion(Word):
    """A fusion operator, for example ``{operator: parallel, stage: logit, combine: mean}``."""

    vocabulary: ClassVar[str] = "fusion"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        return value if _is_read(value, info) else _word(value, "operator", cls.vocabulary)


class Partition(Word):
    """A label partition, for example ``density`` or ``{partition: affinity, shrinkage: 5}``."""

    vocabulary: ClassVar[str] = "fusion.partitions"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        return value if _is_read(value, info) else _word(value, "partition", cls.vocabulary)


class Training(Section):
    """Numbers of a training: AdamW, averaged weights, early stopping on the validation part.

    Attributes
    ----------
    epochs, batch_size, learning_rate, encoder_learning_rate, weight_decay
        As usual; encoders that are trained have a learning rate of their own.
    average : float
        Decay a step of the moving average of the weights that is validated and kept; 0: none.
    dropout, hidden
        Shape of the head.
    patience : int
        Epochs without a better validation value after which training stops.
    monitor : {'auroc', 'loss'}
        The validation value: macro AUROC, or cross-entropy.
    """

    epochs: Annotated[int, Field(ge=1)] = 150
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (256,)
    patience: Annotated[int, Field(ge=1)] = 10
    monitor: Literal["auroc", "loss"] = "auroc"


class ModalityChoice(Word):
    """A modality with its options and how its encoder is calibrated.

    Attributes
    ----------
    calibration : {'frozen', 'finetune', 'joint'}, optional
        ``frozen``: starting weights as they are; ``finetune``: trained with a head of its own,
        then its embeddings are kept; ``joint``: trained through the fusion operator.
        Without it: ``frozen`` for a fitted transform or given weights, otherwise ``finetune``.
    training : Training
        Numbers of the encoder's own training (``finetune``), whatever the arms' numbers are, so
        that all arms share one encoder.
    """

    vocabulary: ClassVar[str] = "modalities"
    calibration: Calibration | None = None
    training: Training = Field(default_factory=Training)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        if _is_read(value, info):
            return value
        if not isinstance(value, Mapping):
            return _word(value, "modality", "modalities")
        own = {key: value[key] for key in ("calibration", "training") if key in value}
        rest = {key: option for key, option in value.items() if key not in own}
        checked = _word(rest, "modality", "modalities")
        return {**checked, **own}

    @model_validator(mode="after")
    def _consistent(self) -> ModalityChoice:
        if not self.trainable and self.calibration in ("finetune", "joint"):
            raise ValueError(
                f"'{self.word}' is a fitted transform without weights: calibration "
                f"'{self.calibration}' has nothing to train; use 'frozen'"
            )
        if self.options.get("weights") and not self.options.get("sha256"):
            raise ValueError(
                "'weights' needs the 'sha256' of the file beside it, so that the study is "
                "reproducible and nothing else is loaded"
            )
        return self

    @cached_property
    def trainable(self) -> bool:
        """Whether the encoder has weights; kept, since every cell of a grid asks."""
        return bool(Vocabulary("modalities").load(self.word).trainable)

    @property
    def resolved(self) -> Calibration:
        """The calibration in force."""
        if self.calibration is not None:
            return self.calibration
        return "finetune" if self.trainable and not self.options.get("weights") else "frozen"

    def json_value(self) -> dict[str, Any]:
        """Return the plain value that identities are made of; weights count by their content."""
        value = {**super().json_value(), "calibration": self.resolved}
        if value.pop("weights", None) is None:
            value.pop("sha256", None)
        if self.resolved == "finetune":
            value["training"] = self.training.model_dump(mode="json")
        return value
