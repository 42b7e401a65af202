"""What every section of a study file has in common."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, field_validator


@dataclass(frozen=True)
class ValidationContext:
    """Context of validation where the values were written by a person.

    Attributes
    ----------
    names : frozenset of str or None
        Names that the section ``modalities`` gives; None where it cannot be read.
    """

    names: frozenset[str] | None = None


class ConfigModel(BaseModel):
    """A part of the study file: frozen; unknown keys and infinite numbers refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: object) -> object:
        """Reject booleans: no setting is boolean, and Python would accept True as 1."""
        if isinstance(value, bool):
            raise ValueError(f"must not be {str(value).lower()}")  # noqa: TRY004 (as in `Component`)
        return value
