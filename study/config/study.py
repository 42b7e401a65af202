"""The study file as checked, frozen values.

Every section checks itself; `study.config.loading` collects all mistakes into one message.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Annotated, Literal, TypedDict

from pydantic import Field, ValidationInfo, field_validator

from study.config.base import ConfigModel, ValidationContext
from study.config.components import STORED_NAME, ModalityConfig
from study.config.contrasts import AnalysisConfig, ContrastConfig
from study.config.grid import GridBlock
from study.config.search import Searched
from study.config.training import TrainingConfig
from study.data import DatasetConfig
from study.progress import format_duration
from study.splits import SCHEMES
from study.storage.checksums import json_digest

Amount = Annotated[float, Field(gt=0)]


class BudgetConfig(ConfigModel):
    """Most that one launch may spend; None: no limit.

    Attributes
    ----------
    trials : int, optional
        Trials to train.
    hours : float, optional
        Wall time.
    cpu_hours, gpu_hours : float, optional
        Hours of CPUs and GPUs that trials and encoder jobs reserve.
    """

    trials: Annotated[int, Field(ge=1)] | None = None
    hours: Amount | None = None
    cpu_hours: Amount | None = None
    gpu_hours: Amount | None = None


class BudgetMeter:
    """What a launch has spent of its budget."""

    def __init__(self, budget: BudgetConfig) -> None:
        self._budget = budget
        self._began = time.monotonic()
        self._cpu = self._gpu = 0.0

    def spend(self, seconds: float, *, cpus: float, gpus: float) -> None:
        """Count a piece of work with the CPUs and GPUs it reserved."""
        self._cpu += seconds * cpus
        self._gpu += seconds * gpus

    @property
    def reached(self) -> str:
        """What is used up, in words; empty while there is something left."""
        wall = time.monotonic() - self._began
        spent = (
            ("hours", self._budget.hours, wall, ""),
            ("cpu_hours", self._budget.cpu_hours, self._cpu, " of CPUs"),
            ("gpu_hours", self._budget.gpu_hours, self._gpu, " of GPUs"),
        )
        for name, limit, used, what in spent:
            if limit is not None and used >= 3_600 * limit:
                return (
                    f"run.budget.{name}: {limit:g} is reached after {format_duration(used)}{what}"
                )
        return ""


Fraction = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=100_000)]
TAKEN = ("artifacts", "cache", "ledger", "weights")
"""Folders of the storage that all studies share: no names of studies."""
_ALIAS = re.compile(r"[a-z][a-z0-9_]*")


class SplitConfig(ConfigModel):
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


class ExecutorOptions(TypedDict):
    """Where and how tasks run, as an executor takes it."""

    address: str | None
    cpus_per_task: float
    retries: int
    time_limit: float | None
    wait: float


class RunConfig(ConfigModel):
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
        the GPU from an encoder; many at once are worth one (`gpus_per_pack`).
    gpus_per_pack : float
        GPUs of a pack of heads; 0: they are trained on CPUs.
    pack_memory : float
        GiB of memory (of the GPU, if there is one) that a pack of heads may take.
    retries : int
        Times that a trial or encoder job is tried again after its process or machine was lost.
    time_limit : float, optional
        Minutes that each trial, encoder job or bucket of features may take; then it fails,
        and is not tried again before the next launch. None: as long as it wants.
    wait : float
        Minutes to wait for machines that an autoscaler starts, before a cluster that is too small
        is refused.
    budget : BudgetConfig
        Most that one launch spends.
    """

    storage: str = "studies"
    tracking: str | None = None
    address: str | None = None
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_worker: Annotated[float, Field(ge=0, le=1)] = 0.0
    gpus_per_pack: Annotated[float, Field(ge=0, le=1)] = 0.0
    pack_memory: Annotated[float, Field(gt=0)] = 1.0
    retries: Annotated[int, Field(ge=0)] = 2
    time_limit: Annotated[float, Field(gt=0)] | None = None
    wait: Annotated[float, Field(ge=0)] = 0.0
    budget: BudgetConfig = BudgetConfig()

    def executor_options(self) -> ExecutorOptions:
        """Return the arguments of `study.executors.factory.build_executor`; times in seconds."""
        return {
            "address": self.address,
            "cpus_per_task": self.cpus_per_trial,
            "retries": self.retries,
            "time_limit": None if self.time_limit is None else 60 * self.time_limit,
            "wait": 60 * self.wait,
        }


class StudySpec(ConfigModel):
    """A whole study: the data, the split, the arms, the training, the questions, the place.

    Attributes
    ----------
    contrasts : list of contrasts, optional
        Which arms are compared; without it the default families.
    parameters : {'unmatched', 'matched'}
        ``matched``: hidden widths of an arm's head are chosen so that it has as many weights as
        the head it is compared with, within 2 %.
    search : Search, optional
        Training numbers that every trial chooses for itself; None: those of the file.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
    description: str = ""
    data: DatasetConfig
    split: SplitConfig = SplitConfig()
    modalities: Mapping[str, ModalityConfig] = {}
    grid: tuple[GridBlock, ...] = Field(min_length=1)
    fractions: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (1.0,)
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    parameters: Literal["unmatched", "matched"] = "unmatched"
    search: Searched = None
    contrasts: Annotated[tuple[ContrastConfig, ...], Field(min_length=1)] | None = None
    analysis: AnalysisConfig = AnalysisConfig()
    run: RunConfig = RunConfig()

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
            and (isinstance(info.context, ValidationContext) or STORED_NAME not in choice)
            else choice
            for name, choice in value.items()
        }

    @field_validator("modalities")
    @classmethod
    def _plain_names(cls, value: Mapping[str, ModalityConfig]) -> Mapping[str, ModalityConfig]:
        wrong = [name for name in value if not _ALIAS.fullmatch(name)]
        if wrong:
            raise ValueError(f"{wrong} must be lower-case words such as 'graph_gin'")
        return value

    def modality(self, name: str) -> ModalityConfig:
        """Return the choice behind a name of a feature set."""
        return self.modalities.get(name) or ModalityConfig.model_validate({"modality": name})


def digest(value: object) -> str:
    """Sha256 of a JSON value with sorted keys; the identity of everything in a study."""
    return json_digest(value, allow_nan=False)
