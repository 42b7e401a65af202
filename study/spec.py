"""What is asked: the study file as checked, frozen values.

Every section checks itself; `study.reading` collects all mistakes into one message.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from study.choices import Fusion, ModalityChoice, Partition
from study.data import Recipe
from study.numbers import Training
from study.section import FromFile, Section
from study.splits import SCHEMES
from study.words import Vocabulary

Technique = Literal["mlp_head", "label_balancer", "independent_mean", "single"]
Fraction = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=100_000)]
TAKEN = ("artifacts", "cache", "ledger", "weights")
"""Folders of the storage that all studies share: no names of studies."""
_ALIAS = re.compile(r"[a-z][a-z0-9_]*")


class SplitSection(Section):
    """Folds, repeats and the inner validation part; fractions are nested in each fold."""

    groups: str = "constitution"
    folds: Annotated[int, Field(ge=2)] = 5
    repeats: Annotated[int, Field(ge=1)] = 1
    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    min_positives: Annotated[int, Field(ge=1)] = 5
    seed: Seed = 0

    @field_validator("groups")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in SCHEMES:
            raise ValueError(f"'{value}' is not a group scheme; allowed: {', '.join(SCHEMES)}")
        return value


def _check_known(sets: tuple[tuple[str, ...], ...], named: Collection[str]) -> None:
    """Refuse features that are neither a modality nor a name of the section ``modalities``."""
    vocabulary = Vocabulary("modalities")
    used = sorted({name for names in sets for name in names} - set(named))
    mistakes = [text for name in used for text in vocabulary.check(name, {})]
    if mistakes:
        raise ValueError("; ".join([*mistakes, f"or a name of 'modalities': {sorted(named)}"]))


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
    technique: tuple[Technique, ...] = Field(("mlp_head",), min_length=1)
    fusion: tuple[Fusion, ...] = Field(
        default_factory=lambda: (Fusion.model_validate("concat"),), min_length=1
    )
    partition: tuple[Partition, ...] = ()
    training: Mapping[str, tuple[Any, ...]] = {}

    @field_validator("features")
    @classmethod
    def _sets(
        cls, value: tuple[tuple[str, ...], ...], info: ValidationInfo
    ) -> tuple[tuple[str, ...], ...]:
        for names in value:
            if not names or len(set(names)) != len(names):
                raise ValueError(f"{list(names)}: a feature set names one or more modalities once")
        if isinstance(info.context, FromFile) and info.context.names is not None:
            _check_known(value, info.context.names)
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
        mistakes = [text for key, values in value.items() for text in _axis_faults(key, values)]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return value


def _axis_faults(key: str, values: tuple[Any, ...]) -> list[str]:
    """Return what is wrong with one training axis of a grid block."""
    if key not in Training.model_fields:
        return [f"'{key}' is not a training number; allowed: {', '.join(Training.model_fields)}"]
    if not values:
        return [f"'{key}' must name at least one value"]
    faults = []
    for each in values:
        try:
            Training(**{key: each})
        except ValidationError as error:
            faults += [f"'{key}' cannot be {each!r}: {fault['msg']}" for fault in error.errors()]
    return faults


class Run(Section):
    """Where and how the study runs; no part of any result's identity.

    Attributes
    ----------
    storage, tracking, address
        Folder of results, MLflow store, Ray cluster.
    cpus_per_trial : float
        CPUs and threads of every process: a trial, an encoder job, each worker of one.
    gpus_per_worker : float
        GPUs of every process that runs an encoder; at most 1, a part of one is shared. Heads on
        embeddings that are ready stay on the CPU: they take seconds there, and would only keep
        the GPU from an encoder.
    """

    storage: str = "studies"
    tracking: str | None = None
    address: str | None = None
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_worker: Annotated[float, Field(ge=0, le=1)] = 0.0


class StudySpec(Section):
    """A whole study: the data, the split, the arms, the training, the place."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
    description: str = ""
    data: Recipe
    split: SplitSection = SplitSection()
    modalities: Mapping[str, ModalityChoice] = {}
    grid: tuple[Grid, ...] = Field(min_length=1)
    fractions: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (1.0,)
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    training: Training = Field(default_factory=Training)
    run: Run = Run()

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in TAKEN:
            raise ValueError(f"'{value}' is a folder of every storage; choose another name")
        return value

    @field_validator("fractions", "seeds")
    @classmethod
    def _each_once(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"{list(value)} names a value twice")
        return value

    @field_validator("modalities", mode="before")
    @classmethod
    def _named_by_key(cls, value: object, info: ValidationInfo) -> object:
        """Let a choice stand for the modality of its own name unless it names another."""
        if not isinstance(value, Mapping):
            return value
        return {
            name: {"modality": name, **choice}
            if isinstance(choice, Mapping)
            and (isinstance(info.context, FromFile) or "word" not in choice)
            else choice
            for name, choice in value.items()
        }

    @field_validator("modalities")
    @classmethod
    def _plain_names(cls, value: Mapping[str, ModalityChoice]) -> Mapping[str, ModalityChoice]:
        wrong = [name for name in value if not _ALIAS.fullmatch(name)]
        if wrong:
            raise ValueError(f"{wrong} must be lower-case words such as 'graph_gin'")
        return value

    def modality(self, name: str) -> ModalityChoice:
        """Return the choice behind a name of a feature set."""
        return self.modalities.get(name) or ModalityChoice.model_validate({"modality": name})


def digest(value: object) -> str:
    """Sha256 of a JSON value with sorted keys; the identity of everything in a study."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
