"""Arms and trials as values: an arm is one configuration, a trial is one arm on one fold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from study.config.components import ModalityConfig, OperatorConfig, PartitionConfig
from study.config.search import SearchConfig
from study.config.study import digest
from study.config.training import TrainingConfig

Repeat = tuple[int, int, int]
"""Seed, repeat and fold of a trial: arms are paired by these."""


@dataclass(frozen=True)
class NamedModality:
    """One modality of an arm: the name the study file gives it, and what stands behind it."""

    name: str
    choice: ModalityConfig

    @cached_property
    def key(self) -> str:
        """Identity of the modality, whatever its name in the file."""
        return digest(self.choice.json_value())

    @property
    def slot(self) -> str:
        """Name inside a model: torch refuses its own words there (``type``, ``training``)."""
        return f"{self.name}_"


@dataclass(frozen=True)
class Arm:
    """One arm of a study in canonical form: fields that cannot matter are None.

    Attributes
    ----------
    features : tuple of NamedModality
        In canonical order (by word, then options).
    technique : str
        ``single`` where there is one modality.
    fusion : OperatorConfig or None
        None for ``single``, ``label_balancer`` and ``independent_mean``.
    partition : PartitionConfig or None
        Only for ``label_balancer``.
    fraction : float
        Share of the training fold that is used.
    training : TrainingConfig
        Numbers of the head's training.
    asked : TrainingConfig or None
        The numbers that the file gives, where the hidden widths were chosen otherwise (matched
        parameters): what the arm shares with those it is compared with. No part of its identity.
    search : SearchConfig or None
        Numbers that each trial chooses for itself, in place of those of `training`; None: the
        trial has those.
    """

    features: tuple[NamedModality, ...]
    technique: str
    fusion: OperatorConfig | None
    partition: PartitionConfig | None
    fraction: float
    training: TrainingConfig
    asked: TrainingConfig | None = field(default=None, compare=False)
    search: SearchConfig | None = None

    @property
    def shared(self) -> TrainingConfig:
        """Numbers that an arm has in common with those it is compared with."""
        return self.asked or self.training

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities in canonical order."""
        return tuple(feature.name for feature in self.features)

    @property
    def joint(self) -> bool:
        """Whether its trials train encoders: they have replicas, checkpoints and a GPU."""
        return any(feature.choice.resolved == "joint" for feature in self.features)

    @cached_property
    def id(self) -> str:
        """Identity of the arm (without data, split and versions)."""
        return digest(self.json_value())[:16]

    @cached_property
    def curve_id(self) -> str:
        """Identity of the arm whatever its training fraction: groups a learning curve."""
        return digest({**self.json_value(), "fraction": None})[:16]

    def json_value(self) -> dict[str, Any]:
        """Return the plain value the identity is made of."""
        return {
            "features": [feature.key for feature in self.features],
            "technique": self.technique,
            "fusion": self.fusion.json_value() if self.fusion else None,
            "partition": self.partition.json_value() if self.partition else None,
            "fraction": self.fraction,
            "training": _dumped(self.training),
            **({"search": self.search.json_value()} if self.search else {}),
        }

    def params(self) -> dict[str, str]:
        """Return the fields as readable words for tables and tracking."""
        return {
            "features": "+".join(self.names),
            "technique": self.technique,
            "fusion": str(self.fusion) if self.fusion else "-",
            "partition": str(self.partition) if self.partition else "-",
            "fraction": f"{self.fraction:g}",
            **({"search": str(self.search)} if self.search else {}),
        }

    def single(self, feature: NamedModality) -> Arm:
        """Return the arm of one modality alone under the same numbers."""
        return replace(self, features=(feature,), technique="single", fusion=None, partition=None)

    def __str__(self) -> str:
        words = [word for word in self.params().values() if word != "-"]
        return " / ".join(words)


def _dumped(training: TrainingConfig) -> dict[str, Any]:
    return training.model_dump(mode="json")


@dataclass(frozen=True)
class Trial:
    """One fit: an arm on one fold with one seed."""

    arm: Arm
    repeat: int
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"{self.arm} / repeat {self.repeat} fold {self.fold} seed {self.seed}"

    @property
    def torch_seed(self) -> int:
        """Seed of this fit: another one in each fold, the same for all arms of the fold."""
        return (self.seed * 1_000 + self.repeat) * 1_000 + self.fold

    def members(self) -> tuple[Trial, ...]:
        """Return the single-modality trials whose scores ``independent_mean`` averages."""
        if self.arm.technique != "independent_mean":
            return ()
        singles = (self.arm.single(feature) for feature in self.arm.features)
        return tuple(Trial(arm, self.repeat, self.fold, self.seed) for arm in singles)

    def to_json(self) -> dict[str, Any]:
        """Return JSON scalars, lists and mappings only: what crosses a process border."""
        arm = self.arm
        return {
            "features": [[f.name, _plain(f.choice)] for f in arm.features],  # order is identity
            "technique": arm.technique,
            "fusion": _plain(arm.fusion),
            "partition": _plain(arm.partition),
            "fraction": arm.fraction,
            "training": _dumped(arm.training),
            **({"search": arm.search.json_value()} if arm.search else {}),
            "repeat": self.repeat,
            "fold": self.fold,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trial:
        """Rebuild what `to_json` wrote."""
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


def _plain(word: OperatorConfig | PartitionConfig | ModalityConfig | None) -> dict[str, Any] | None:
    return word.model_dump(mode="json") if word else None


def repeat_of(spec: Trial) -> Repeat:
    """Return the seed, repeat and fold of a trial."""
    return spec.seed, spec.repeat, spec.fold


def iterate_trials(
    arm: Arm, *, repeats: int, folds: int, seeds: tuple[int, ...]
) -> Iterator[Trial]:
    """Yield every repeat of an arm: seeds x repeats x folds."""
    for seed in seeds:
        for repeat in range(repeats):
            for fold in range(folds):
                yield Trial(arm, repeat, fold, seed)
