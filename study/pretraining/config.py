"""What a pretraining is asked to do: its file as checked, frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from study.config.base import ConfigModel, ValidationContext
from study.config.components import Component, EncoderConfig
from study.config.loading import PRESETS as STUDY_PRESETS
from study.config.loading import check_file, find_file, read_sections
from study.config.study import RunConfig, Seed
from study.plugins.registry import Registry

PRESETS = STUDY_PRESETS / "pretraining"
FILE = "a pretraining file"


class ObjectiveConfig(Component):
    """A pretraining objective: ``translation`` or ``{objective: translation, ...}``."""

    key: ClassVar[str] = "objective"


class MoleculeTableConfig(ConfigModel):
    """The molecules: a comma-separated file with a header.

    Attributes
    ----------
    file : str
        Path; a relative one is also looked for below ``$OLFACTION_ARCHIVE``.
    smiles, names : str
        Columns of the SMILES and of the IUPAC names; without `names` no molecule has one.
    key : {'isomeric', 'nonstereo'}
        Which canonical SMILES is shown: with stereo marks, or the constitution alone.
    exclude : str, optional
        A study file or preset, none of whose molecules (by constitution) may be seen.
    terms : str
        Licence or source of the table: goes on the card.
    """

    file: str
    smiles: str = "smiles"
    names: str | None = None
    key: Literal["isomeric", "nonstereo"] = "isomeric"
    exclude: str | None = None
    terms: str = ""


class PretrainingConfig(ConfigModel):
    """Numbers of a pretraining: AdamW, linear warm-up, then a cosine to zero.

    Attributes
    ----------
    epochs, batch_size, learning_rate, weight_decay
        As usual; the batch is that of all workers together.
    warmup : float
        Share of all steps in which the learning rate rises from 0.
    patience : int
        Epochs without a lower held-out loss after which it stops; the best epoch is kept.
    precision : {'float32', 'bfloat16', 'float16'}
    workers : int
        Data-parallel replicas.
    seed : int
        Starting weights, held-out molecules, order of the batches, masks and views.
    """

    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    patience: Annotated[int, Field(ge=1)] = 10
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    workers: Annotated[int, Field(ge=1)] = 1
    seed: Seed = 0


class PretrainingSpec(ConfigModel):
    """A whole pretraining: the task, the encoder, the molecules, the numbers, the place."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
    description: str = ""
    objective: ObjectiveConfig
    modality: EncoderConfig
    molecules: MoleculeTableConfig
    held_out: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    training: PretrainingConfig = PretrainingConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _fits(self) -> PretrainingSpec:
        objective = Registry("objective").load(self.objective.name)
        if self.modality.name not in objective.modalities:
            raise ValueError(
                f"the objective '{self.objective.name}' trains encoders of "
                f"{', '.join(objective.modalities)}, not of '{self.modality.name}'"
            )
        if objective.named and self.molecules.names is None:
            raise ValueError(
                f"the objective '{self.objective.name}' needs names: give their column in "
                "'molecules.names'"
            )
        return self


def read_pretraining(source: str, overrides: Sequence[str] = ()) -> PretrainingSpec:
    """Read and check a pretraining file or a shipped preset; arguments as `read_study`.

    Raises
    ------
    InputError
        Every mistake of the file, each with its place and what is allowed.
    """
    path = find_file(source, PRESETS, FILE)
    return check_file(
        PretrainingSpec, read_sections(path, overrides, FILE), str(path), ValidationContext()
    )
