"""The fitted transform of a table of counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from modalities._base import ModalityError, ModalityFeatures
from modalities._fitted import FittedModule


class LogCounts(FittedModule):
    """Log counts of the columns that vary over the training rows: ``log(1 + n)``.

    A column without variation is dropped: a network cannot learn its weight, and an environment
    first met in a test molecule would add that untrained weight to the logits.
    """

    columns: torch.Tensor  # (d,)

    def __init__(self) -> None:
        super().__init__()
        self.add_fitted(columns=torch.int64)

    @property
    def dim(self) -> int:
        """Columns kept."""
        return self.fitted_width("columns")

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Keep the columns whose count varies over these rows."""
        counts = features.matrix("counts")[rows]
        kept = np.flatnonzero(counts.min(axis=0) != counts.max(axis=0))
        if not kept.size:
            raise ModalityError(f"no count varies over the {len(rows)} training rows")
        self.set_fitted(columns=kept)

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Gather ``counts`` float32 (b, size)."""
        return {"counts": torch.from_numpy(features.matrix("counts")[rows].astype(np.float32))}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, d)."""
        return batch["counts"][:, self.columns].log1p()
