"""Arms and trials: an arm is one configuration, a trial is one arm on one fold with one seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from study.config.components import Component, ModalityConfig, OperatorConfig, PartitionConfig
from study.config.search import SearchConfig
from study.config.study import digest
from study.config.training import TrainingConfig

Repeat = tuple[int, int, int]
"""Seed, repeat and fold of a trial; trials of two arms are paired if these are equal."""


@dataclass(frozen=True)
class NamedModality:
    """One modality of an arm: its name in the study file, and its configuration."""

    name: str
    config: ModalityConfig

    @cached_property
    def key(self) -> str:
        """Identity of the modality, which does not depend on its name in the file."""
        return digest(self.config.json_value())

    @property
    def module_name(self) -> str:
        """Name inside a model; the suffix avoids names that torch reserves (``type``)."""
        return f"{self.name}_"


@dataclass(frozen=True)
class Arm:
    """One arm of a study in canonical form: fields without effect are None.

    Attributes
    ----------
    features : tuple of NamedModality
        In canonical order (by modality, then options).
    technique : str
        ``single`` if there is one modality.
    fusion : OperatorConfig or None
        None for ``single``, ``label_balancer`` and ``independent_mean``.
    partition : PartitionConfig or None
        Only for ``label_balancer``.
    fraction : float
        Share of the training fold that is used.
    training : TrainingConfig
        Settings of the head's training.
    file_training : TrainingConfig or None
        The settings in the file, if the hidden widths in `training` were chosen to match
        parameters; the arm is compared with arms that share these. Not part of the identity.
    search : SearchConfig or None
        Settings that every trial searches for, instead of those in `training`; None: no search.
    """

    features: tuple[NamedModality, ...]
    technique: str
    fusion: OperatorConfig | None
    partition: PartitionConfig | None
    fraction: float
    training: TrainingConfig
    file_training: TrainingConfig | None = field(default=None, compare=False)
    search: SearchConfig | None = None

    @property
    def comparable_training(self) -> TrainingConfig:
        """Training settings that an arm shares with the arms it is compared with."""
        return self.file_training or self.training

    @property
    def components(self) -> tuple[Component, ...]:
        """Modalities, operator and partition."""
        fusing = [component for component in (self.fusion, self.partition) if component]
        return (*(feature.config for feature in self.features), *fusing)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities in canonical order."""
        return tuple(feature.name for feature in self.features)

    @property
    def trains_encoders(self) -> bool:
        """Whether its trials train encoders, and so need replicas, checkpoints and a GPU."""
        return any(feature.config.resolved == "joint" for feature in self.features)

    @cached_property
    def id(self) -> str:
        """Identity of the arm (without data, split and versions)."""
        return digest(self.json_value())[:16]

    @cached_property
    def curve_id(self) -> str:
        """Identity of the arm without its training fraction: that of its learning curve."""
        return digest({**self.json_value(), "fraction": None})[:16]

    def json_value(self) -> dict[str, Any]:
        """Return the JSON value that the identity is hashed from."""
        return {
            "features": [feature.key for feature in self.features],
            "technique": self.technique,
            "fusion": self.fusion.json_value() if self.fusion else None,
            "partition": self.partition.json_value() if self.partition else None,
            "fraction": self.fraction,
            "training": _dump_training(self.training),
            **({"search": self.search.json_value()} if self.search else {}),
        }

    def params(self) -> dict[str, str]:
        """Return the fields as text, for tables and tracking."""
        return {
            "features": "+".join(self.names),
            "technique": self.technique,
            "fusion": str(self.fusion) if self.fusion else "-",
            "partition": str(self.partition) if self.partition else "-",
            "fraction": f"{self.fraction:g}",
            **({"search": str(self.search)} if self.search else {}),
        }

    def to_single(self, feature: NamedModality) -> Arm:
        """Return the arm of one modality alone with the same training settings."""
        return replace(self, features=(feature,), technique="single", fusion=None, partition=None)

    def __str__(self) -> str:
        return " / ".join(text for text in self.params().values() if text != "-")


def _dump_training(training: TrainingConfig) -> dict[str, Any]:
    return training.model_dump(mode="json")


@dataclass(frozen=True)
class Trial:
    """One arm on one fold with one seed."""

    arm: Arm
    repeat: int
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"{self.arm} / repeat {self.repeat} fold {self.fold} seed {self.seed}"

    @property
    def torch_seed(self) -> int:
        """Seed of torch: different for every fold, the same for all arms of a fold."""
        return (self.seed * 1_000 + self.repeat) * 1_000 + self.fold

    def members(self) -> tuple[Trial, ...]:
        """Return the single-modality trials whose scores ``independent_mean`` averages."""
        if self.arm.technique != "independent_mean":
            return ()
        singles = (self.arm.to_single(feature) for feature in self.arm.features)
        return tuple(Trial(arm, self.repeat, self.fold, self.seed) for arm in singles)

    def to_json(self) -> dict[str, Any]:
        """Return the trial as a JSON value, to send it to another process."""
        arm = self.arm
        return {
            # The order is part of the identity.
            "features": [[f.name, _dump_component(f.config)] for f in arm.features],
            "technique": arm.technique,
            "fusion": _dump_component(arm.fusion),
            "partition": _dump_component(arm.partition),
            "fraction": arm.fraction,
            "training": _dump_training(arm.training),
            **({"search": arm.search.json_value()} if arm.search else {}),
            "repeat": self.repeat,
            "fold": self.fold,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trial:
        """Read a value of `to_json`."""
        features = tuple(
            NamedModality(name, ModalityConfig.model_validate(choice))
            for name, choice in value["features"]
        )
        fusion, partition = value["fusion"], value["partition"]
        arm = Arm(
            features,
            value["technique"],
            OperatorConfig.model_validate(fusion) if fusion else None,
            PartitionConfig.model_validate(partition) if partition else None,
            value["fraction"],
            TrainingConfig.model_validate(value["training"]),
            search=SearchConfig.model_validate(value["search"]) if value.get("search") else None,
        )
        return cls(arm, value["repeat"], value["fold"], value["seed"])


def _dump_component(
    config: OperatorConfig | PartitionConfig | ModalityConfig | None,
) -> dict[str, Any] | None:
    return config.model_dump(mode="json") if config else None


def get_repeat(spec: Trial) -> Repeat:
    """Return the seed, repeat and fold of a trial."""
    return spec.seed, spec.repeat, spec.fold


def iterate_trials(
    arm: Arm, *, repeats: int, folds: int, seeds: tuple[int, ...]
) -> Iterator[Trial]:
    """Yield the trials of an arm: seeds x repeats x folds."""
    for seed in seeds:
        for repeat in range(repeats):
            for fold in range(folds):
                yield Trial(arm, repeat, fold, seed)
