"""The base class of all sections of a study file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator

from study.plugins.loading import load_plugins


@dataclass(frozen=True)
class ValidationContext:
    """Validation context for values from a file, as opposed to values dumped by a model.

    Attributes
    ----------
    names : frozenset of str or None
        Names defined in the section ``modalities``; None if it cannot be read.
    folder : Path, optional
        Folder of the file, from which the paths of plug-ins start. Default: the working folder.
    """

    names: frozenset[str] | None = None
    folder: Path | None = None


def _load_plugins(references: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Load the plug-ins that a file names; those of stored values are loaded by their readers."""
    if isinstance(info.context, ValidationContext):
        load_plugins(references, info.context.folder)
    return references


Plugins = Annotated[tuple[str, ...], AfterValidator(_load_plugins)]
"""The files and modules with components from outside, loaded when they are validated.

The field must come before the fields that name components: pydantic validates in this order.
"""


class ConfigModel(BaseModel):
    """A section of the study file: frozen, without unknown keys and infinite numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _reject_booleans(cls, value: object) -> object:
        """Reject booleans: no setting is boolean, and Python would accept True as 1."""
        if isinstance(value, bool):
            raise ValueError(f"must not be {str(value).lower()}")  # noqa: TRY004 (as in `Component`)
        return value
