"""The text encoder, for texts that not every molecule has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityError, ModalityFeatures
from modalities._text_encoder import TextEncoder


class NameEncoder(TextEncoder):
    """``TextEncoder(name)`` where there is a name, else the learned vector ``unnamed``.

    Parameters
    ----------
    **shape
        As in `TextEncoder`.
    """

    def __init__(self, **shape: Any) -> None:  # noqa: ANN401 (the parameters of TextEncoder)
        super().__init__(**shape)
        self.unnamed = nn.Parameter(torch.zeros(self.dim))

    def stages(self) -> Sequence[nn.Module]:
        """As `TextEncoder`; the vector of nameless molecules belongs to the last layer."""
        *lower, last = super().stages()
        return [*lower, nn.ModuleList([last, nn.ParameterList([self.unnamed])])]

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Pad to the longest name of the batch: tokens (b, t) and named bool (b,).

        Raises
        ------
        ModalityError
            No molecule of the whole table has a name: all would embed alike.
        """
        named = features.matrix("named")
        if not named.any():
            raise ModalityError(
                f"none of the {len(features)} molecules has a name ({features.version}); give the "
                "modality a table that names them, or leave it out"
            )
        return {
            **super().collate(features, rows),
            "named": torch.from_numpy(named[rows].astype(bool)),
        }

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, d)."""
        return torch.where(batch["named"][:, None], super().forward(batch), self.unnamed)
