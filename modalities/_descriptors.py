"""The fitted transform of a table of descriptors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from modalities._base import ModalityError, ModalityFeatures
from modalities._fitted import FittedModule

FloatRows = NDArray[np.float64]
_ROUNDING = 1e-6


class DescriptorScaler(FittedModule):
    """Filter, impute, signed log, z-score, clip: ``clamp((slog(x) - mean) / scale, -c, c)``.

    ``slog(x) = sign(x) log(1 + |x|)``; a missing x is the column's median. Medians, means,
    scales and the columns kept are those of the training rows.

    Parameters
    ----------
    max_missing, max_value, clip : float
        As in `modalities.mordred.Mordred`.
    """

    columns: torch.Tensor  # (d,)
    median: torch.Tensor  # (d,)
    mean: torch.Tensor  # (d,)
    scale: torch.Tensor  # (d,)

    def __init__(self, *, max_missing: float, max_value: float, clip: float) -> None:
        super().__init__()
        self.max_missing = max_missing
        self.max_value = max_value
        self.clip = clip
        self.add_fitted(columns=torch.int64)
        self.add_fitted(median=torch.float32, mean=torch.float32, scale=torch.float32)

    @property
    def dim(self) -> int:
        """Descriptors kept."""
        return self.fitted_width("columns")

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Choose the columns and fit their medians, means and scales on these rows."""
        values = features.matrix("values")[rows].astype(np.float64)
        kept = np.flatnonzero(self._usable(values))
        values = values[:, kept]
        median = np.nanmedian(values, axis=0) if kept.size else np.empty(0)
        logs = _signed_log(np.where(np.isnan(values), median, values))
        mean, scale = logs.mean(axis=0), logs.std(axis=0)
        varied = scale > _ROUNDING * np.maximum(1, np.abs(mean))
        if not varied.any():
            raise ModalityError(f"no descriptor varies over the {len(rows)} training rows")
        kept, median, mean, scale = (part[varied] for part in (kept, median, mean, scale))
        self.set_fitted(columns=kept, median=median, mean=mean, scale=scale)

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Gather ``values`` (b, 1613), NaN where missing."""
        return {"values": torch.from_numpy(features.matrix("values")[rows])}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Scale a batch: -> (b, d)."""
        values = batch["values"][:, self.columns]
        values = torch.where(values.isnan(), self.median, values)
        logs = values.sign() * values.abs().log1p()
        return ((logs - self.mean) / self.scale).clamp(-self.clip, self.clip)

    def _usable(self, values: FloatRows) -> NDArray[np.bool_]:
        """Return which columns are complete, small and varied enough, before imputation."""
        missing = np.isnan(values)
        known = np.where(missing, 0.0, values)
        usable: NDArray[np.bool_] = missing.mean(axis=0) <= self.max_missing
        usable &= ~missing.all(axis=0)
        usable &= np.abs(known).max(axis=0) <= self.max_value
        return usable


def _signed_log(values: FloatRows) -> FloatRows:
    return np.sign(values) * np.log1p(np.abs(values))
