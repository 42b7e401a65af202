"""Layers of the translation transformer, in the parameter layout of the published checkpoint.

Morris et al., J. Chem. Inf. Model. (2020). Shapes: b texts, t longest text of the batch, n
tokens of all its texts, d width, h heads. Between attentions the tokens of a batch stand one
after the other, (n, d): padding costs nothing there.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from modalities._dropout import Dropout
from modalities._text import ALPHABET
from modalities._text_places import Block, Places

TINY = 1e-12


class Norm(nn.Module):
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

    def forward(self, places: Places) -> torch.Tensor:
        """Return the row of each token: -> (n, d)."""
        return self.pe[0].index_select(0, places.index % places.inside.shape[1])


def position_table(length: int, width: int) -> torch.Tensor:
    """Compute the positional table (1, length, width), float32 rounded from float64."""
    column = torch.arange(width, dtype=torch.float64)
    place = torch.arange(length, dtype=torch.float64)[:, None]
    angle = place / 10000.0 ** (2 * column / width)  # (length, width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()[None]


class Embedder(nn.Module):
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
        places: Places,
        sources: Places,
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
        texts: Block,
        sources: Block,
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

    def _heads(self, x: torch.Tensor, block: Block) -> torch.Tensor:
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
        self.norm_1, self.norm_2 = Norm(width), Norm(width)
        self.attn = Attention(width, heads, dropout)
        self.ff = FeedForward(width, feedforward, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor, places: Places) -> torch.Tensor:
        """Let tokens (n, d) read their own text: -> (n, d)."""
        near = self.norm_1(x)
        x = x + self.dropout(self.attn(near, near, places, places))
        changed: torch.Tensor = x + self.dropout(self.ff(self.norm_2(x)))
        return changed
