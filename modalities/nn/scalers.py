"""Transforms whose statistics are fitted buffers: descriptor scaling, log counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityError, ModalityFeatures


class FittedModule(nn.Module):
    """A module with fitted buffers, which are empty until `fit` or until a state dict is loaded.

    Torch copies stored values into buffers of equal size only. The size of a fitted buffer depends
    on its training rows, so before loading, each buffer is resized as in the state dict.
    """

    def add_fitted(self, **buffers: torch.dtype) -> None:
        """Register an empty buffer of each of these types."""
        for name, dtype in buffers.items():
            self.register_buffer(name, torch.empty(0, dtype=dtype))

    def set_fitted(self, **values: object) -> None:
        """Set buffers to these values, keeping their type and device."""
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
            raise ModalityError(f"{type(self).__name__} has no width before fit: call fit first")
        return width

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        *args: Any,  # noqa: ANN401 (signature of torch)
    ) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(self, name, buffer.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


class LogCounts(FittedModule):
    """Log counts of the columns that vary over the training rows: ``log(1 + n)``.

    A constant column is dropped: a network cannot learn its weight, and an environment that
    occurs only in a test molecule would add this untrained weight to the logits.
    """

    columns: torch.Tensor  # (d,)

    def __init__(self) -> None:
        super().__init__()
        self.add_fitted(columns=torch.int64)

    @property
    def dim(self) -> int:
        """Number of columns kept."""
        return self.fitted_width("columns")

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Keep the columns whose count varies over these rows."""
        counts = features.matrix("counts")[rows]
        varying = np.flatnonzero(counts.min(axis=0) != counts.max(axis=0))
        if not varying.size:
            raise ModalityError(f"no count varies over the {len(rows)} training rows")
        self.set_fitted(columns=varying)

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Gather ``counts`` float32 (b, size)."""
        return {"counts": torch.from_numpy(features.matrix("counts")[rows].astype(np.float32))}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, d)."""
        return batch["counts"][:, self.columns].log1p()


FloatRows = NDArray[np.float64]
_ROUNDING = 1e-6
"""Deviation, relative to the mean, up to which a column counts as constant."""


class DescriptorScaler(FittedModule):
    """Filter, impute, signed log, z-score, clip: ``clamp((slog(x) - mean) / scale, -c, c)``.

    ``slog(x) = sign(x) log(1 + |x|)``; a missing x is replaced by the median of its column.
    Medians, means, scales and the choice of columns are fitted on the training rows.

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
        """Number of descriptors kept."""
        return self.fitted_width("columns")

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Choose the columns and fit their medians, means and scales on these rows."""
        values = features.matrix("values")[rows].astype(np.float64)
        columns = np.flatnonzero(self._find_usable(values))
        values = values[:, columns]
        median = np.nanmedian(values, axis=0) if columns.size else np.empty(0)
        logs = _signed_log(np.where(np.isnan(values), median, values))
        mean, scale = logs.mean(axis=0), logs.std(axis=0)
        varying = scale > _ROUNDING * np.maximum(1, np.abs(mean))
        if not varying.any():
            raise ModalityError(f"no descriptor varies over the {len(rows)} training rows")
        self.set_fitted(
            columns=columns[varying],
            median=median[varying],
            mean=mean[varying],
            scale=scale[varying],
        )

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

    def _find_usable(self, values: FloatRows) -> NDArray[np.bool_]:
        """Return which columns are complete enough and within `max_value`."""
        missing = np.isnan(values)
        known = np.where(missing, 0.0, values)
        usable: NDArray[np.bool_] = missing.mean(axis=0) <= self.max_missing
        usable &= ~missing.all(axis=0)
        usable &= np.abs(known).max(axis=0) <= self.max_value
        return usable


def _signed_log(values: FloatRows) -> FloatRows:
    return np.sign(values) * np.log1p(np.abs(values))
