"""What a study file asks of its results: contrasts, and how they are judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from study.config.base import ConfigModel, ValidationContext
from study.config.components import OperatorConfig, PartitionConfig

FAMILIES = ("technique", "control", "modality")
"""Families of contrasts that a file may ask for by their word."""
ROPE = 0.005
"""Half width of the region of practical equivalence where a file names none, in AUROC."""
POWER = 2.8
"""Standard errors of the smallest effect seen in 4 of 5 studies at the two-sided 5 % level."""


class ArmSelector(ConfigModel):
    """Which arms stand on one side of a contrast: those that have all of these words.

    Attributes
    ----------
    features : list of names, optional
        The whole feature set, in any order; or as a table writes it, ``graph+mordred``.
    technique, fusion, partition : str, optional
        As a table writes it, ``concat(stage=latent)``, or as the grid does,
        ``{operator: concat, stage: latent}``.
    fraction : float, optional
    """

    features: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    technique: str | None = None
    fusion: str | None = None
    partition: str | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None

    @field_validator("features", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return tuple(value.split("+")) if isinstance(value, str) else value

    @field_validator("fusion", "partition", mode="before")
    @classmethod
    def _as_in_tables(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, Mapping):
            return value
        words = {"fusion": OperatorConfig, "partition": PartitionConfig}
        return str(words[str(info.field_name)].model_validate(value, context=ValidationContext()))

    @property
    def named(self) -> frozenset[str]:
        """Columns that this side fixes."""
        return frozenset(
            name for name in ArmSelector.model_fields if getattr(self, name) is not None
        )

    def __str__(self) -> str:
        words = {
            name: getattr(self, name) for name in ArmSelector.model_fields if name in self.named
        }
        if self.features:
            words["features"] = "+".join(self.features)
        return ", ".join(f"{name} {value}" for name, value in words.items()) or "every arm"


class ContrastConfig(ConfigModel):
    """Contrasts of one family: a default family by its word, or two sides of one's own.

    Attributes
    ----------
    family : str
        Contrasts of one family are adjusted for each other.
    arm, reference : ArmSelector, optional
        Together or not at all. What neither names must agree between the two.
    """

    family: Annotated[str, Field(min_length=1)]
    arm: ArmSelector | None = None
    reference: ArmSelector | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_word(cls, value: Any) -> Any:  # noqa: ANN401 (raw YAML)
        return {"family": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole(self) -> ContrastConfig:
        if (self.arm is None) != (self.reference is None):
            lacking = "an 'arm'" if self.arm is None else "a 'reference'"
            raise ValueError(f"the contrast '{self.family}' needs {lacking} as well")
        if self.arm is None and self.family not in FAMILIES:
            raise ValueError(
                f"'{self.family}' is no family of contrasts; allowed: {', '.join(FAMILIES)}, or a "
                "mapping with 'family', 'arm' and 'reference'"
            )
        if self.arm is not None and self.arm == self.reference:
            raise ValueError(f"both sides are the same ({self.arm}); name what differs")
        return self


class AnalysisConfig(ConfigModel):
    """How contrasts are judged.

    Attributes
    ----------
    rope : float
        Half width of the region of practical equivalence, in AUROC.
    ensembles : {'equal', 'any'}
        ``equal``: sides of a contrast average as many models each, other contrasts are left out;
        ``any``: an ensemble may be compared with a single model.
    """

    rope: Annotated[float, Field(gt=0, lt=0.5)] = ROPE
    ensembles: Literal["equal", "any"] = "equal"
