"""The configuration of a pretraining: its file as checked, frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from study.config.base import ConfigModel, Plugins, ValidationContext
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
    """The table of molecules: a comma-separated file with a header.

    Attributes
    ----------
    file : str
        Path; a relative one is also looked for below ``$OLFACTION_ARCHIVE``.
    smiles, names : str
        Columns of the SMILES and of the IUPAC names; without `names` no molecule has a name.
    key : {'isomeric', 'nonstereo'}
        Which canonical SMILES identifies a molecule: with stereo marks, or the constitution.
    exclude : str, optional
        A study file or preset whose molecules (by constitution) are left out.
    terms : str
        Licence or source of the table, for the model card.
    """

    file: str
    smiles: str = "smiles"
    names: str | None = None
    key: Literal["isomeric", "nonstereo"] = "isomeric"
    exclude: str | None = None
    terms: str = ""


class PretrainingConfig(ConfigModel):
    """Training of a pretraining: AdamW with linear warm-up and cosine decay to zero.

    Attributes
    ----------
    epochs : int
        Maximum number of epochs.
    batch_size : int
        Molecules per optimizer step, over all workers.
    learning_rate : float
        Highest learning rate, at the end of the warm-up.
    weight_decay : float
        Weight decay of AdamW.
    warmup : float
        Share of the steps in which the learning rate rises from 0.
    patience : int
        Number of epochs without a lower held-out loss after which training stops. The weights of
        the best epoch are kept.
    precision : {'float32', 'bfloat16', 'float16'}
        Precision of matrix products in the forward pass of training.
    workers : int
        Number of data-parallel replicas.
    seed : int
        Seed of initial weights, held-out molecules, order of the batches, masks and views.
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
    """A complete pretraining: objective, encoder, molecules, training and run options.

    Attributes
    ----------
    name : str
        Name of the pretraining and of the folder of its weights.
    description : str
        One line for `study presets` and the model card.
    objective : ObjectiveConfig
        What is predicted without labels, with options.
    modality : EncoderConfig
        The modality whose encoder is trained, with options.
    molecules : MoleculeTableConfig
        The table of molecules.
    held_out : float
        Share of the molecules that measures the loss and is not trained on.
    training : PretrainingConfig
        Settings of the training.
    run : RunConfig
        Where and how it runs.
    plugins : list of str
        Files and modules with modalities and objectives from outside, as in a study file.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
    description: str = ""
    plugins: Plugins = ()
    objective: ObjectiveConfig
    modality: EncoderConfig
    molecules: MoleculeTableConfig
    held_out: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    training: PretrainingConfig = PretrainingConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _check_objective(self) -> PretrainingSpec:
        objective = Registry("objective").load(self.objective.name)
        if self.modality.name not in objective.modalities:
            raise ValueError(
                f"the objective '{self.objective.name}' trains encoders of "
                f"{', '.join(objective.modalities)}, not of '{self.modality.name}'"
            )
        if objective.named and self.molecules.names is None:
            raise ValueError(
                f"the objective '{self.objective.name}' needs names: set 'molecules.names' to "
                "their column"
            )
        return self


def read_pretraining(source: str, overrides: Sequence[str] = ()) -> PretrainingSpec:
    """Read and check a pretraining file or a preset; parameters as in `read_study`.

    Raises
    ------
    InputError
        The file has mistakes; the message lists all, each with its place and what is allowed.
    """
    path = find_file(source, PRESETS, FILE)
    return check_file(
        PretrainingSpec,
        read_sections(path, overrides, FILE),
        str(path),
        ValidationContext(folder=path.parent),
    )
