"""What is asked: the study file as checked, frozen values.

Every section checks itself; `study.reading` collects all mistakes into one message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from study.data import Recipe
from study.splits import SCHEMES
from study.words import Vocabulary

TECHNIQUES = ("mlp_head", "label_balancer", "independent_mean", "single")
Technique = Literal["mlp_head", "label_balancer", "independent_mean", "single"]
Calibration = Literal["frozen", "finetune", "joint"]
Fraction = Annotated[float, Field(gt=0, le=1)]
Scalar = str | int | float | bool | None


class Section(BaseModel):
    """A part of the study file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
        given = {key: v for key, v in self.options.items() if v != known[key].default}
        shown = ", ".join(f"{key}={value}" for key, value in given.items())
        return f"{self.word}({shown})" if shown else self.word

    def json_value(self) -> dict[str, Any]:
        """Return the plain value that identities are made of."""
        return {"word": self.word, **self.options}


def _is_read(value: object) -> bool:
    """Whether a value already has the fields of a `Word` (it crossed a process border)."""
    return isinstance(value, Word) or (isinstance(value, Mapping) and "word" in value)


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
    def _read(cls, value: object) -> object:
        return value if _is_read(value) else _word(value, "operator", cls.vocabulary)


class Partition(Word):
    """A label partition, for example ``density`` or ``{partition: affinity, shrinkage: 5}``."""

    vocabulary: ClassVar[str] = "fusion.partitions"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        return value if _is_read(value) else _word(value, "partition", cls.vocabulary)


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

    epochs: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.3
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.6
    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (512,)
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
    def _read(cls, value: object) -> object:
        if _is_read(value):
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


class SplitSection(Section):
    """Folds, repeats and the inner validation part; fractions are nested in each fold."""

    groups: str = "constitution"
    folds: Annotated[int, Field(ge=2)] = 5
    repeats: Annotated[int, Field(ge=1)] = 1
    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    min_positives: Annotated[int, Field(ge=1)] = 5
    seed: int = 0

    @field_validator("groups")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in SCHEMES:
            raise ValueError(f"'{value}' is not a group scheme; allowed: {', '.join(SCHEMES)}")
        return value


class Grid(Section):
    """One block of the grid: every combination of its lists is an arm.

    Attributes
    ----------
    features : list of lists of names
        Each inner list is one feature set; names of ``modalities`` or modality words.
    technique, fusion, partition
        Axes; ``partition`` only where ``label_balancer`` is among the techniques.
    training : mapping of a training number to its values
        Further axes, for example ``{dropout: [0.1, 0.3]}``.
    """

    features: tuple[tuple[str, ...], ...] = Field(min_length=1)
    technique: tuple[Technique, ...] = ("mlp_head",)
    fusion: tuple[Fusion, ...] = Field(default_factory=lambda: (Fusion.model_validate("concat"),))
    partition: tuple[Partition, ...] = ()
    training: Mapping[str, tuple[Any, ...]] = {}

    @field_validator("features")
    @classmethod
    def _sets(cls, value: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        for names in value:
            if not names or len(set(names)) != len(names):
                raise ValueError(f"{list(names)}: a feature set names one or more modalities once")
        return value

    @field_validator("technique")
    @classmethod
    def _single_alone(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        wide = [names for names in info.data.get("features", ()) if len(names) > 1]
        if "single" in value and wide:
            raise ValueError(
                f"'single' takes one modality, not {list(wide[0])}; "
                "give single modalities a grid block of their own"
            )
        return value

    @field_validator("partition")
    @classmethod
    def _balancer_only(
        cls, value: tuple[Partition, ...], info: ValidationInfo
    ) -> tuple[Partition, ...]:
        if value and "label_balancer" not in info.data.get("technique", ("label_balancer",)):
            raise ValueError(
                f"a label partition ({', '.join(map(str, value))}) needs the technique "
                "'label_balancer'; add it to 'technique' or remove 'partition'"
            )
        return value

    @field_validator("training")
    @classmethod
    def _training_axes(cls, value: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, ...]]:
        for key, values in value.items():
            if key not in Training.model_fields:
                allowed = ", ".join(Training.model_fields)
                raise ValueError(f"'{key}' is not a training number; allowed: {allowed}")
            for each in values:
                Training(**{key: each})
        return value


class Run(Section):
    """Where and how the study runs; no part of any result's identity."""

    storage: str = "studies"
    tracking: str | None = None
    address: str | None = None
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0


class StudySpec(Section):
    """A whole study: the data, the split, the arms, the training, the place."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
    description: str = ""
    data: Recipe
    split: SplitSection = SplitSection()
    modalities: Mapping[str, ModalityChoice] = {}
    grid: tuple[Grid, ...] = Field(min_length=1)
    fractions: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (1.0,)
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    training: Training = Field(default_factory=Training)
    run: Run = Run()

    @field_validator("modalities", mode="before")
    @classmethod
    def _named_by_key(cls, value: object) -> object:
        """Let a choice stand for the modality of its own name unless it names another."""
        if not isinstance(value, Mapping):
            return value
        return {
            name: {"modality": name, **choice}
            if isinstance(choice, Mapping) and not _is_read(choice)
            else choice
            for name, choice in value.items()
        }

    @field_validator("grid")
    @classmethod
    def _features_known(cls, value: tuple[Grid, ...], info: ValidationInfo) -> tuple[Grid, ...]:
        named = info.data.get("modalities")
        if named is None:
            return value
        vocabulary = Vocabulary("modalities")
        for name in {n for block in value for names in block.features for n in names} - set(named):
            mistakes = vocabulary.check(name, {})
            if mistakes:
                raise ValueError(mistakes[0] + f"; or a name of 'modalities': {list(named)}")
        return value

    def modality(self, name: str) -> ModalityChoice:
        """Return the choice behind a name of a feature set."""
        return self.modalities.get(name) or ModalityChoice.model_validate({"modality": name})


def digest(value: object) -> str:
    """Sha256 of a JSON value with sorted keys; the identity of everything in a study."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def preset_path(name: str) -> Path:
    """Return the file of a shipped preset (it may not exist)."""
    return Path(__file__).parent / "presets" / f"{name}.yaml"
