"""The sections ``contrasts`` and ``analysis``: which arms are compared, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from study.config.base import ConfigModel, ValidationContext
from study.config.components import OperatorConfig, PartitionConfig

FAMILIES = ("technique", "control", "modality")
"""Families of contrasts that a study file can name."""
ROPE = 0.005
"""Default half width of the region of practical equivalence, in AUROC."""
POWER = 2.8
"""Detectable effect in standard errors: power 0.8 at the two-sided 5 % level."""


class ArmSelector(ConfigModel):
    """One side of a contrast: the arms that match every field that is set.

    Attributes
    ----------
    features : list of names, optional
        The whole feature set, in any order; or as in result tables, ``graph+mordred``.
    technique, fusion, partition : str, optional
        As in result tables, ``concat(stage=latent)``, or as in the grid,
        ``{operator: concat, stage: latent}``.
    fraction : float, optional
        Share of the training fold.
    """

    features: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    technique: str | None = None
    fusion: str | None = None
    partition: str | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None

    @field_validator("features", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(value.split("+")) if isinstance(value, str) else value

    @field_validator("fusion", "partition", mode="before")
    @classmethod
    def _format_component(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, Mapping):
            return value
        models = {"fusion": OperatorConfig, "partition": PartitionConfig}
        return str(models[str(info.field_name)].model_validate(value, context=ValidationContext()))

    @property
    def columns(self) -> frozenset[str]:
        """Names of the fields that are set."""
        return frozenset(
            name for name in ArmSelector.model_fields if getattr(self, name) is not None
        )

    def __str__(self) -> str:
        values = {
            name: getattr(self, name) for name in ArmSelector.model_fields if name in self.columns
        }
        if self.features:
            values["features"] = "+".join(self.features)
        return ", ".join(f"{name} {value}" for name, value in values.items()) or "every arm"


class ContrastConfig(ConfigModel):
    """Contrasts of one family: a default family by its name, or two selected sides.

    Attributes
    ----------
    family : str
        Name of the family, in which p values are adjusted together. Without sides: one of the
        default families ``technique``, ``control`` and ``modality``.
    arm, reference : ArmSelector, optional
        Both or neither. Arms are paired if they agree in every column that neither side sets.
    """

    family: Annotated[str, Field(min_length=1)]
    arm: ArmSelector | None = None
    reference: ArmSelector | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:  # noqa: ANN401 (raw YAML)
        return {"family": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_sides(self) -> ContrastConfig:
        if (self.arm is None) != (self.reference is None):
            missing = "an 'arm'" if self.arm is None else "a 'reference'"
            raise ValueError(f"the contrast '{self.family}' needs {missing} as well")
        if self.arm is None and self.family not in FAMILIES:
            raise ValueError(
                f"'{self.family}' is not a family of contrasts; allowed: {', '.join(FAMILIES)}, or "
                "a mapping with 'family', 'arm' and 'reference'"
            )
        if self.arm is not None and self.arm == self.reference:
            raise ValueError(f"both sides are the same ({self.arm}); set what differs")
        return self


class AnalysisConfig(ConfigModel):
    """How contrasts are evaluated.

    Attributes
    ----------
    rope : float
        Half width of the region of practical equivalence, in AUROC.
    ensembles : {'equal', 'any'}
        ``equal``: contrasts whose sides average different numbers of models are left out;
        ``any``: an ensemble can be compared with a single model.
    """

    rope: Annotated[float, Field(gt=0, lt=0.5)] = ROPE
    ensembles: Literal["equal", "any"] = "equal"
