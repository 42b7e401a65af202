"""The translation transformer: a text encoder and the half that writes the translation.

Morris et al., J. Chem. Inf. Model. (2020), in the parameter layout of the published checkpoint:
without the prefix ``module.``, its 262 tensors are the 260 weights here and the two positional
tables, which are computed. Shapes as in `modalities.nn.transformer`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from modalities.featurizers.characters import ALPHABET, END, PAD
from modalities.nn.random import Dropout
from modalities.nn.transformer import (
    Attention,
    FeedForward,
    LayerNorm,
    Positions,
    TextEncoder,
    TokenEmbedding,
    TokenPlaces,
    group_by_length,
    initialize_weights,
)


class DecoderLayer(nn.Module):
    """``x + attn_1(norm_1(x))``, ``x + attn_2(norm_2(x), source)``, ``x + ff(norm_3(x))``."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.norm_1, self.norm_2, self.norm_3 = LayerNorm(width), LayerNorm(width), LayerNorm(width)
        self.attn_1 = Attention(width, heads, dropout)
        self.attn_2 = Attention(width, heads, dropout)
        self.ff = FeedForward(width, feedforward, dropout)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: torch.Tensor, places: TokenPlaces, source: torch.Tensor, sources: TokenPlaces
    ) -> torch.Tensor:
        """Let tokens (n, d) read themselves, earlier ones and the source (m, d): -> (n, d)."""
        near = self.norm_1(x)
        x = x + self.dropout(self.attn_1(near, near, places, places, causal=True))
        x = x + self.dropout(self.attn_2(self.norm_2(x), source, places, sources))
        changed: torch.Tensor = x + self.dropout(self.ff(self.norm_3(x)))
        return changed


class TranslatorDecoder(nn.Module):
    """``norm(layers(sqrt(d) embed(id) + pe, source))``."""

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        heads: int,
        feedforward: int,
        dropout: float,
        max_length: int,
    ) -> None:
        super().__init__()
        self.embed = TokenEmbedding(width)
        self.pe = Positions(max_length, width)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, feedforward, dropout) for _ in range(layers)
        )
        self.norm = LayerNorm(width)

    def forward(
        self, tokens: torch.Tensor, places: TokenPlaces, source: torch.Tensor, sources: TokenPlaces
    ) -> torch.Tensor:
        """Return the states of the n tokens of (b, t), which know source (m, d): -> (n, d)."""
        ids = tokens.flatten().index_select(0, places.index)
        x = self.dropout(self.embed(ids) + self.pe(places))
        for layer in self.layers:
            x = layer(x, places, source, sources)
        states: torch.Tensor = self.norm(x)
        return states


class Translator(nn.Module):
    """``p(c_i | c_<i, source) = softmax(out(decoder(c_<i, encoder(source))))``.

    Parameters
    ----------
    encoder : TextEncoder
        Reads the source. The decoder has its width, heads, feedforward and dropout.
    layers : int
        Of the decoder.
    max_length : int
        Most tokens of a translation, the start included and the end not.
    """

    def __init__(self, encoder: TextEncoder, *, layers: int, max_length: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = TranslatorDecoder(
            layers=layers,
            width=encoder.dim,
            heads=encoder.heads,
            feedforward=encoder.feedforward,
            dropout=encoder.dropped,
            max_length=max_length,
        )
        self.out = nn.Linear(encoder.dim, ALPHABET)
        initialize_weights(self.decoder)
        initialize_weights(self.out)

    def forward(
        self, source: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Predict each character of the targets from those before it (teacher forcing).

        Parameters
        ----------
        source : Tensor of int64, (b, s)
            Start and characters, padded.
        target : Tensor of int64, (b, t)
            Start, characters and end, padded.

        Returns
        -------
        logits : Tensor, (n, 98)
            Of each character and end of all targets.
        expected : Tensor of int64, (n,)
            What it is.
        text : Tensor of int64, (n,)
            Row of the batch it belongs to.
        """
        shown = target[:, :-1].masked_fill(target[:, :-1] == END, PAD)
        rows = group_by_length(target)
        states, places = self._write(source, shown, rows)
        expected = target[:, 1:].flatten().index_select(0, places.index)
        text = places.index // max(1, shown.shape[1])
        return self.out(states), expected, text

    def _write(
        self, source: torch.Tensor, shown: torch.Tensor, rows: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, TokenPlaces]:
        """Return the states of the tokens shown, and where they stand."""
        sources, places = TokenPlaces.of(source, rows), TokenPlaces.of(shown, rows)
        read = self.encoder.read(source, sources)
        return self.decoder(shown, places, read, sources), places
