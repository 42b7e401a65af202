"""Transformer encoder of text, its options, and the encoders of SMILES and IUPAC names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from modalities._base import ModalityError, ModalityFeatures
from modalities.featurizers.characters import ALPHABET, PAD, Pooling, pad_ids
from modalities.nn.random import Dropout

BLOCK = 16
"""Texts that are padded together: fewer is less padding and more calls."""


@dataclass(frozen=True)
class TextBlock:
    """Texts of a batch that are about as long as each other; their tokens are neighbors.

    Attributes
    ----------
    inside : Tensor of bool, (c, u)
        Whether a text has a token there; u is the longest of these c texts.
    index : Tensor of int64, (m,)
        Places of the block's tokens in its padded form, flat.
    """

    inside: torch.Tensor
    index: torch.Tensor

    def gather(self, padded: torch.Tensor) -> torch.Tensor:
        """Take the tokens out: (c, u, d) -> (m, d)."""
        return padded.flatten(0, 1).index_select(0, self.index)

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """Put the tokens back, zeros between them: (m, d) -> (c, u, d)."""
        flat = x.new_zeros(self.inside.numel(), x.shape[1]).index_copy(0, self.index, x)
        return flat.view(*self.inside.shape, -1)


@dataclass(frozen=True)
class TokenPlaces(TextBlock):
    """Where the n tokens of a batch (b, t) stand, block after block.

    Attributes
    ----------
    blocks : tuple of TextBlock
        Attention is over one block at a time: texts of one length need little padding.
    """

    blocks: tuple[TextBlock, ...]

    @classmethod
    def of(cls, tokens: torch.Tensor, rows: Sequence[torch.Tensor]) -> TokenPlaces:
        """Find what is not padding in ids (b, t), with these rows in each block."""
        inside = tokens != PAD
        blocks, index = [], []
        for texts in rows:
            some = inside[texts]
            some = some[:, : int(some.sum(dim=1).max())]
            block = TextBlock(some, some.flatten().nonzero().squeeze(1))
            text, place = block.index // some.shape[1], block.index % some.shape[1]
            index.append(texts[text] * tokens.shape[1] + place)
            blocks.append(block)
        return cls(inside, torch.cat(index), tuple(blocks))

    def each(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        """Split tokens (n, d) into those of each block."""
        return torch.split(x, [len(block.index) for block in self.blocks])


def group_by_length(tokens: torch.Tensor) -> Sequence[torch.Tensor]:
    """Share the texts of a batch (b, t) among blocks by length: row indices."""
    order = (tokens != PAD).sum(dim=1).argsort(stable=True)
    return torch.split(order, BLOCK)


TINY = 1e-12


class LayerNorm(nn.Module):
    """``alpha (x - mean) / (s + 1e-6) + bias``, with s the unbiased standard deviation.

    Computed by torch's layer norm, whose s is the biased one: the published 1e-6, which is
    there for s = 0, changes the result by less than 1e-6 / s.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize the last axis: (..., d) -> (..., d)."""
        width = x.shape[-1]
        alpha = self.alpha * math.sqrt((width - 1) / width)
        return functional.layer_norm(x, (width,), alpha, self.bias, TINY)


class Positions(nn.Module):
    """The published table: ``pe[p, i] = sin(p / 10000^(2i/d))`` for even i.

    ``pe[p, i + 1] = cos(p / 10000^(2(i+1)/d))``: each column has an exponent of its own, twice
    the usual one. Computed, so no part of our state dict.
    """

    pe: torch.Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("pe", position_table(length, width), persistent=False)

    def forward(self, places: TokenPlaces) -> torch.Tensor:
        """Return the row of each token: -> (n, d)."""
        return self.pe[0].index_select(0, places.index % places.inside.shape[1])


def position_table(length: int, width: int) -> torch.Tensor:
    """Compute the positional table (1, length, width), float32 rounded from float64."""
    column = torch.arange(width, dtype=torch.float64)
    place = torch.arange(length, dtype=torch.float64)[:, None]
    angle = place / 10000.0 ** (2 * column / width)  # (length, width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()[None]


class TokenEmbedding(nn.Module):
    """A learned vector for each character."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(ALPHABET, width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Look ids (n,) up, times sqrt(d): -> (n, d)."""
        vectors: torch.Tensor = self.embed(ids)
        return vectors * math.sqrt(vectors.shape[-1])


class Attention(nn.Module):
    """``out(softmax(q k^T / sqrt(d/h)) v)`` in each of h heads; padding is not attended to."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q_linear = nn.Linear(width, width)
        self.k_linear = nn.Linear(width, width)
        self.v_linear = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: torch.Tensor,
        memory: torch.Tensor,
        places: TokenPlaces,
        sources: TokenPlaces,
        *,
        causal: bool = False,
    ) -> torch.Tensor:
        """Let tokens x (n, d) read tokens memory (m, d) of the same texts: -> (n, d)."""
        read = [
            self._read(*parts, causal=causal)
            for parts in zip(
                places.blocks,
                sources.blocks,
                places.each(self.q_linear(x)),
                sources.each(self.k_linear(memory)),
                sources.each(self.v_linear(memory)),
                strict=True,
            )
        ]
        mixed: torch.Tensor = self.out(torch.cat(read))
        return mixed

    def _read(
        self,
        texts: TextBlock,
        sources: TextBlock,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        causal: bool,
    ) -> torch.Tensor:
        """Attend within one block.

        `causal`: a token reads itself and earlier ones; padding, which comes last, is then out
        of sight without a mask.
        """
        read = functional.scaled_dot_product_attention(
            self._heads(q, texts),
            self._heads(k, sources),
            self._heads(v, sources),
            attn_mask=None if causal else sources.inside[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )  # (c, h, u, d/h)
        return texts.gather(read.transpose(1, 2).flatten(2))

    def _heads(self, x: torch.Tensor, block: TextBlock) -> torch.Tensor:
        """Share the width between heads: (m, d) -> (c, h, u, d/h)."""
        return block.spread(x).view(*block.inside.shape, self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """``W2 ReLU(W1 x)``."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, hidden)
        self.linear_2 = nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform each token: (n, d) -> (n, d)."""
        changed: torch.Tensor = self.linear_2(self.dropout(self.linear_1(x).relu()))
        return changed


class EncoderLayer(nn.Module):
    """``x + attn(norm_1(x))``, then ``x + ff(norm_2(x))``."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = LayerNorm(width), LayerNorm(width)
        self.attn = Attention(width, heads, dropout)
        self.ff = FeedForward(width, feedforward, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor, places: TokenPlaces) -> torch.Tensor:
        """Let tokens (n, d) read their own text: -> (n, d)."""
        near = self.norm_1(x)
        x = x + self.dropout(self.attn(near, near, places, places))
        changed: torch.Tensor = x + self.dropout(self.ff(self.norm_2(x)))
        return changed


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
        self.embed = TokenEmbedding(width)
        self.pe = Positions(max_length, width)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, feedforward, dropout) for _ in range(layers)
        )
        self.norm = LayerNorm(width)
        initialize_weights(self)

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
        return {"tokens": torch.from_numpy(pad_ids(features.fields["tokens"].take(rows)))}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, d)."""
        tokens = batch["tokens"]
        places = TokenPlaces.of(tokens, group_by_length(tokens))
        return self._pool(places.spread(self.read(tokens, places)), places.inside)

    def states(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the state of each token, zero for padding: (b, t) -> (b, t, d)."""
        places = TokenPlaces.of(tokens, group_by_length(tokens))
        return places.spread(self.read(tokens, places))

    def read(self, tokens: torch.Tensor, places: TokenPlaces) -> torch.Tensor:
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


def initialize_weights(network: nn.Module) -> None:
    """Start every matrix at Xavier's uniform values, as the publication does."""
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.xavier_uniform_(weight)


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
