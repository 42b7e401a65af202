"""A small transformer over characters, trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityFeatures
from modalities.smiles import ALPHABET, PAD


class CharacterTransformer(nn.Module):
    """Token and position embeddings, pre-norm encoder layers, pooling over the tokens.

    ``pool(norm(layers(token + position)))``; padding is neither attended to nor pooled.

    Parameters
    ----------
    layers, width, heads, feedforward, dropout, max_length, pooling
        As in `modalities.smiles.Smiles`.
    """

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        heads: int,
        feedforward: int,
        dropout: float,
        max_length: int,
        pooling: Literal["mean", "start", "max"],
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.tokens = nn.Embedding(ALPHABET, width, padding_idx=PAD)
        self.positions = nn.Parameter(torch.randn(max_length, width) * width**-0.5)
        # nn.TransformerEncoder would start every layer from copies of the same weights.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, feedforward, dropout, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.tokens.embedding_dim

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Fit nothing: all weights are trained."""

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Pad to the longest text of the batch: tokens (b, longest)."""
        chosen = features.fields["tokens"].take(rows)
        inside = np.arange(chosen.lengths.max(initial=0)) < chosen.lengths[:, None]
        tokens = np.full(inside.shape, PAD, dtype=np.int64)
        tokens[inside] = chosen.values
        return {"tokens": torch.from_numpy(tokens)}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, width)."""
        tokens = batch["tokens"]  # (b, longest)
        padding = tokens == PAD
        x = self.tokens(tokens) + self.positions[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
        return self._pool(self.norm(x), padding)

    def _pool(self, x: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """Pool states (b, longest, width) over what is not padding: -> (b, width)."""
        if self.pooling == "start":
            return x[:, 0]
        if self.pooling == "max":
            return x.masked_fill(padding[..., None], -torch.inf).amax(dim=1)
        text = (~padding)[..., None]
        return (x * text).sum(dim=1) / text.sum(dim=1)
