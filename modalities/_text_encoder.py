"""The encoder of both text modalities: the translation transformer's, pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityFeatures
from modalities._dropout import Dropout
from modalities._text import Pooling, padded
from modalities._text_layers import Embedder, EncoderLayer, Norm, Positions
from modalities._text_places import Places, by_length


class TextEncoder(nn.Module):
    """``pool(norm(layers(sqrt(d) embed(id) + pe)))`` (Morris et al., 2020).

    Padding is neither attended to nor pooled. Parameter names are those of the published
    checkpoint behind ``module.encoder.``.

    Parameters
    ----------
    layers, width, heads, feedforward, dropout, max_length, pooling
        As in `modalities.smiles.Smiles`.
    """

    prefix: ClassVar[str] = "encoder."
    """Where a checkpoint of the whole translator holds these weights."""
    ignorable: ClassVar[tuple[str, ...]] = ("decoder.", "out.")
    """What else such a checkpoint holds: the half that writes the translation."""

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        heads: int,
        feedforward: int,
        dropout: float,
        max_length: int,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.heads, self.feedforward, self.dropped = heads, feedforward, dropout
        self.embed = Embedder(width)
        self.pe = Positions(max_length, width)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, feedforward, dropout) for _ in range(layers)
        )
        self.norm = Norm(width)
        start_evenly(self)

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.embed.embed.embedding_dim

    def stages(self) -> Sequence[nn.Module]:
        """Characters, each layer; the final norm belongs to the last layer."""
        *lower, last = self.layers
        return [self.embed, *lower, nn.ModuleList([last, self.norm])]

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Fit nothing: all weights are trained."""

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Pad to the longest text of the batch: tokens (b, t)."""
        return {"tokens": torch.from_numpy(padded(features.fields["tokens"].take(rows)))}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, d)."""
        tokens = batch["tokens"]
        places = Places.of(tokens, by_length(tokens))
        return self._pool(places.spread(self.read(tokens, places)), places.inside)

    def states(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the state of each token, zero for padding: (b, t) -> (b, t, d)."""
        places = Places.of(tokens, by_length(tokens))
        return places.spread(self.read(tokens, places))

    def read(self, tokens: torch.Tensor, places: Places) -> torch.Tensor:
        """Return the states of the n tokens that are no padding: (b, t) -> (n, d)."""
        ids = tokens.flatten().index_select(0, places.index)
        x = self.dropout(self.embed(ids) + self.pe(places))
        for layer in self.layers:
            x = layer(x, places)
        states: torch.Tensor = self.norm(x)
        return states

    def _pool(self, states: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Pool states (b, t, d), zero for padding, over the tokens inside: -> (b, d)."""
        if self.pooling == "start":
            return states[:, 0]
        if self.pooling == "max":
            return states.masked_fill(~inside[..., None], -torch.inf).amax(dim=1)
        return states.sum(dim=1) / inside.sum(dim=1, keepdim=True)


def start_evenly(network: nn.Module) -> None:
    """Start every matrix at Xavier's uniform values, as the publication does."""
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.xavier_uniform_(weight)
