"""Checks of the options of objectives."""

from __future__ import annotations

from modalities._base import ModalityError


def require(word: str, option: str, value: object, rule: str, holds: bool) -> None:
    """Refuse an option of an objective that breaks its rule."""
    if not holds:
        raise ModalityError(f"objective '{word}': {option} must be {rule}, not {value!r}")
