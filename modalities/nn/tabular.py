"""A network on scaled descriptors, whose weights have the same shapes whatever was fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityError, ModalityFeatures
from modalities.nn.scalers import DescriptorScaler


class ScaledColumns(nn.Module):
    """`DescriptorScaler` of constant width: column i stays column i, and a dropped column is 0.

    ``y_i = kept_i clamp((slog(x_i) - mean_i) / scale_i, -c, c)``; a missing x_i is replaced by
    the median of its column.
    """

    kept: torch.Tensor  # (m,)
    median: torch.Tensor  # (m,)
    mean: torch.Tensor  # (m,)
    scale: torch.Tensor  # (m,)

    def __init__(self, columns: int, *, max_missing: float, max_value: float, clip: float) -> None:
        super().__init__()
        self.clip = clip
        self._limits = {"max_missing": max_missing, "max_value": max_value, "clip": clip}
        self.register_buffer("kept", torch.zeros(columns))
        self.register_buffer("median", torch.zeros(columns))
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))

    @property
    def fitted(self) -> bool:
        """Whether it was fitted, here or before its checkpoint was saved."""
        return bool(self.kept.any())

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Choose the columns and fit their medians, means and scales on these rows."""
        scaler = DescriptorScaler(**self._limits)
        scaler.fit(features, rows)
        columns = scaler.columns.to(self.kept.device)
        self.kept[columns] = 1.0
        for name in ("median", "mean", "scale"):
            buffer = self.get_buffer(name)
            buffer[columns] = scaler.get_buffer(name).to(buffer)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Scale values (b, m), NaN where missing: -> (b, m).

        Raises
        ------
        ModalityError
            It was not fitted.
        """
        if not self.kept.is_meta and not self.fitted:  # a meta tensor has no values to check
            raise ModalityError(
                "the descriptor scaler was never fitted: call fit on training rows, or give "
                "weights, which contain a fitted scaler (a random network cannot be 'frozen')"
            )
        known = torch.where(values.isnan(), self.median, values)
        logs = known.sign() * known.abs().log1p()
        scaled = ((logs - self.mean) / self.scale).clamp(-self.clip, self.clip)
        return torch.where(self.kept > 0, scaled, torch.zeros_like(scaled))

    def present(self, values: torch.Tensor) -> torch.Tensor:
        """Return which values (b, m) are not missing and in a kept column: -> bool (b, m)."""
        return ~values.isnan() & (self.kept > 0)


class TabularEncoder(nn.Module):
    """MLP on scaled descriptors: ``W_k drop(relu(BN(... W_1 s(x))))``.

    Parameters
    ----------
    scaler : ScaledColumns
        The scaler s. `fit` does not change one that was loaded from a checkpoint.
    columns, width, layers, embedding : int
        Number of descriptors, width and number of the hidden layers, width d of the embedding.
    dropout : float
        Dropout probability after each hidden layer in training.
    """

    def __init__(
        self,
        scaler: ScaledColumns,
        *,
        columns: int,
        width: int,
        layers: int,
        embedding: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.scaler = scaler
        widths = [columns, *[width] * layers]
        self.hidden = nn.ModuleList(
            _build_layer(inputs, outputs, dropout) for inputs, outputs in pairwise(widths)
        )
        self.project = nn.Linear(width, embedding)

    @property
    def dim(self) -> int:
        """Width d of the embedding."""
        return self.project.out_features

    def stages(self) -> Sequence[nn.Module]:
        """Return the hidden layers, then the projection."""
        return [*self.hidden, self.project]

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Fit the scaler on these rows, unless a fitted one was loaded from a checkpoint."""
        if not self.scaler.fitted:
            self.scaler.fit(features, rows)

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Gather ``values`` (b, m), NaN where missing."""
        return {"values": torch.from_numpy(features.matrix("values")[rows])}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, d)."""
        return self.embed(self.scaler(batch["values"]))

    def embed(self, scaled: torch.Tensor) -> torch.Tensor:
        """Embed scaled descriptors (b, m): -> (b, d)."""
        for layer in self.hidden:
            scaled = layer(scaled)
        embedding: torch.Tensor = self.project(scaled)
        return embedding


def _build_layer(inputs: int, outputs: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(dropout)
    )
