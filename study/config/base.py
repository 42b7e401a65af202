"""The base class of all sections of a study file."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, field_validator


@dataclass(frozen=True)
class ValidationContext:
    """Validation context for values from a file, as opposed to values dumped by a model.

    Attributes
    ----------
    names : frozenset of str or None
        Names defined in the section ``modalities``; None if it cannot be read.
    """

    names: frozenset[str] | None = None


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
