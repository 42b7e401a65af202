"""The models of a study file and its sections, frozen and checked.

Every section checks itself; `study.config.loading` collects all mistakes into one message.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Annotated, Literal, TypedDict

from pydantic import Field, ValidationInfo, field_validator

from study.config.base import ConfigModel, Plugins, ValidationContext
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
    """Limits of one launch; None: no limit.

    Attributes
    ----------
    trials : int, optional
        Number of trials.
    hours : float, optional
        Wall time.
    cpu_hours, gpu_hours : float, optional
        Hours of the CPUs and GPUs that trials and encoder jobs reserve.
    """

    trials: Annotated[int, Field(ge=1)] | None = None
    hours: Amount | None = None
    cpu_hours: Amount | None = None
    gpu_hours: Amount | None = None


class BudgetMeter:
    """Measures what a launch has spent of its budget."""

    def __init__(self, budget: BudgetConfig) -> None:
        self._budget = budget
        self._started = time.monotonic()
        self._cpu_seconds = self._gpu_seconds = 0.0

    def spend(self, seconds: float, *, cpus: float, gpus: float) -> None:
        """Add the duration of a task, times the CPUs and GPUs it reserved."""
        self._cpu_seconds += seconds * cpus
        self._gpu_seconds += seconds * gpus

    @property
    def reached(self) -> str:
        """Message about the limit that is reached, '' if there is none."""
        wall = time.monotonic() - self._started
        spent = (
            ("hours", self._budget.hours, wall, ""),
            ("cpu_hours", self._budget.cpu_hours, self._cpu_seconds, " of CPUs"),
            ("gpu_hours", self._budget.gpu_hours, self._gpu_seconds, " of GPUs"),
        )
        for name, limit, used, unit in spent:
            if limit is not None and used >= 3_600 * limit:
                return (
                    f"run.budget.{name}: {limit:g} is reached after {format_duration(used)}{unit}"
                )
        return ""


Fraction = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=100_000)]
RESERVED_NAMES = ("artifacts", "cache", "ledger", "weights")
"""Folders of the storage that all studies share, so no study can have their names."""
_MODALITY_NAME = re.compile(r"[a-z][a-z0-9_]*")


class SplitConfig(ConfigModel):
    """The cross-validation: groups, folds, repeats and the inner validation part.

    Attributes
    ----------
    groups : {'molecule', 'constitution', 'butina', 'murcko'}
        Molecules that stay together on one side of the test line. ``molecule``: each on its own;
        ``constitution``: stereoisomers and isotopes; ``butina``: similar molecules (clusters of
        ECFP4 fingerprints); ``murcko``: one Bemis-Murcko scaffold.
    folds : int
        Number of test folds.
    repeats : int
        Number of times that the cross-validation is drawn anew.
    validation : float
        Share of the training fold that is used for early stopping and selection.
    min_positives : int
        Minimum number of positives of every label in every test fold.
    seed : int
        Seed of the split; the same for every arm.
    """

    groups: str = "constitution"
    folds: Annotated[int, Field(ge=2)] = 5
    repeats: Annotated[int, Field(ge=1)] = 1
    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    min_positives: Annotated[int, Field(ge=1)] = 5
    seed: Seed = 0

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, value: str) -> str:
        if value not in SCHEMES:
            raise ValueError(f"'{value}' is not a group scheme; allowed: {', '.join(SCHEMES)}")
        return value


class ExecutorOptions(TypedDict):
    """Arguments of an executor: where and how tasks run."""

    address: str | None
    cpus_per_task: float
    retries: int
    time_limit: float | None
    wait: float


class RunConfig(ConfigModel):
    """Where and how the study runs; not part of the identity of any result.

    Attributes
    ----------
    storage : str
        Folder of results that every node mounts, or ``s3://bucket/folder``.
    tracking : str, optional
        MLflow store or server. Default: a database in the folder of results.
    address : str, optional
        Ray cluster to run on; ``auto``: find a running one. Default: a Ray on this machine.
    cpus_per_trial : float
        CPUs and threads of every process: a trial, an encoder job, each worker of a group.
    gpus_per_worker : float
        GPUs of every process that trains or runs an encoder; at most 1, and a fraction shares a
        GPU. Heads on stored embeddings stay on the CPU: they take seconds there and would block
        the GPU for encoders. A pack of many heads can use one (`gpus_per_pack`).
    gpus_per_pack : float
        GPUs of a pack of heads; 0: heads are trained on CPUs.
    pack_memory : float
        Memory limit of a pack of heads in GiB (of GPU memory, if it has a GPU).
    retries : int
        Number of retries of a trial or encoder job whose process or machine was lost.
    time_limit : float, optional
        Time limit of every trial, encoder job or bucket of features, in minutes. Work that
        exceeds it fails and is retried only by the next launch. None: no limit.
    wait : float
        Minutes to wait for machines that an autoscaler starts, before a cluster that is too small
        is rejected.
    budget : BudgetConfig
        Limits of one launch.
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
    """A whole study file: data, split, modalities, grid, training, contrasts and run.

    Attributes
    ----------
    name : str
        Name of the study and of its folder: lower-case letters, digits, ``-`` and ``_``.
    description : str
        One line for `study presets` and the report.
    data : DatasetConfig
        Name of a preset, or a mapping: sources of the molecules and labels, and their curation.
    split : SplitConfig
        The cross-validation.
    modalities : mapping of name to ModalityConfig
        Named modalities with options. A modality without options needs no entry.
    grid : list of GridBlock
        Blocks of arms.
    fractions : list of float
        Shares of the training fold that every arm is trained on; smaller ones are parts of larger
        ones.
    seeds : list of int
        Seeds of initial weights, batches and dropout. Every arm is trained once per seed and fold.
    training : TrainingConfig
        Settings of the heads' training that all arms share, unless a block varies them.
    plugins : list of str
        Python files (``./composition.py``) and installed modules (``my_package.composition``) with
        modalities, operators, partitions or sources from outside. Relative paths are looked up
        beside the study file, then in the working folder.
    contrasts : list of contrasts, optional
        Which arms are compared; default: the default families.
    analysis : AnalysisConfig
        How contrasts are evaluated.
    run : RunConfig
        Where and how the study runs.
    parameters : {'unmatched', 'matched'}
        ``matched``: the hidden widths of an arm's head are chosen so that it has as many weights
        as the head it is compared with, within 2 %.
    search : SearchConfig, optional
        Training settings that every trial searches for. Default: no search; all settings are those
        of the file.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
    description: str = ""
    plugins: Plugins = ()
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
    def _check_name(cls, value: str) -> str:
        if value in RESERVED_NAMES:
            raise ValueError(f"'{value}' is the name of a shared folder; choose another name")
        return value

    @field_validator("fractions", "seeds")
    @classmethod
    def _check_distinct(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"{list(value)} has a value twice")
        return value

    @field_validator("modalities", mode="before")
    @classmethod
    def _add_modality_names(cls, value: object, info: ValidationInfo) -> object:
        """Add the key ``modality`` where it is missing: the default is the entry's own name."""
        if not isinstance(value, Mapping):
            return value
        return {
            name: {"modality": name, **options}
            if isinstance(options, Mapping)
            and (isinstance(info.context, ValidationContext) or STORED_NAME not in options)
            else options
            for name, options in value.items()
        }

    @field_validator("modalities")
    @classmethod
    def _check_modality_names(
        cls, value: Mapping[str, ModalityConfig]
    ) -> Mapping[str, ModalityConfig]:
        wrong = [name for name in value if not _MODALITY_NAME.fullmatch(name)]
        if wrong:
            raise ValueError(f"{wrong} must be lower-case names such as 'graph_gin'")
        return value

    def modality(self, name: str) -> ModalityConfig:
        """Return the modality that a feature set names."""
        return self.modalities.get(name) or ModalityConfig.model_validate({"modality": name})


def digest(value: object) -> str:
    """Return the sha256 of a JSON value with sorted keys: the identity of everything stored."""
    return json_digest(value, allow_nan=False)
