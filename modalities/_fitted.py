"""Modules whose buffers take their size from the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from modalities._base import ModalityError


class FittedModule(nn.Module):
    """A module with fitted buffers, empty until `fit`, that a state dict brings back whole.

    Torch copies stored values into buffers of equal size. A fitted buffer has the size its
    training rows gave it, so a fresh module first takes that size from the state dict.
    """

    def add_fitted(self, **buffers: torch.dtype) -> None:
        """Register empty buffers of these types."""
        for name, dtype in buffers.items():
            self.register_buffer(name, torch.empty(0, dtype=dtype))

    def set_fitted(self, **values: object) -> None:
        """Fill the buffers, keeping their type and device."""
        for name, value in values.items():
            setattr(self, name, torch.as_tensor(value).to(self.get_buffer(name)))

    def fitted_width(self, name: str) -> int:
        """Return the length of a fitted buffer.

        Raises
        ------
        ModalityError
            The module was not fitted.
        """
        width = len(self.get_buffer(name))
        if width == 0:
            raise ModalityError(f"{type(self).__name__} has no width before fit")
        return width

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        *args: Any,  # noqa: ANN401 (torch's own)
    ) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(self, name, buffer.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
