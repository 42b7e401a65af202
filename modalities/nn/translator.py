"""The translation transformer: a text encoder and a decoder.

Morris et al., J. Chem. Inf. Model. (2020); their checkpoint is converted to these parameters by
`modalities.weights.published_translator`. Shapes as in `modalities.nn.transformer`.
"""

from __future__ import annotations

import torch
from torch import nn

from modalities.featurizers.characters import ALPHABET, PAD
from modalities.nn.transformer import (
    LAYER,
    Positions,
    TextEncoder,
    TokenEmbedding,
    group_by_length,
    initialize_weights,
    trim_padding,
)


class TranslatorDecoder(nn.Module):
    """Decoder of the translator: ``norm(layers(sqrt(d) embed(id) + pe, source))``."""

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
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerDecoderLayer(width, heads, feedforward, dropout, **LAYER)
        self.transformer = nn.TransformerDecoder(layer, layers)
        self.norm = nn.LayerNorm(width, LAYER["layer_norm_eps"])

    def forward(
        self, tokens: torch.Tensor, source: torch.Tensor, padding: torch.Tensor
    ) -> torch.Tensor:
        """Compute the states of tokens (b, t) with causal attention: -> (b, t, d).

        Parameters
        ----------
        tokens : Tensor of int64, (b, t)
            Padded at the end. The padding needs no mask, because no token attends to later ones.
        source : Tensor, (b, s, d)
            States of the encoder.
        padding : Tensor of bool, (b, s)
            Where the source is padding.
        """
        x = self.dropout(self.embed(tokens) + self.pe(tokens))
        causal_mask = nn.Transformer.generate_square_subsequent_mask(
            tokens.shape[1], device=x.device, dtype=x.dtype
        )
        x = self.transformer(
            x, source, tgt_mask=causal_mask, tgt_is_causal=True, memory_key_padding_mask=padding
        )
        states: torch.Tensor = self.norm(x)
        return states


class Translator(nn.Module):
    """Translator: ``p(c_i | c_<i, source) = softmax(out(decoder(c_<i, encoder(source))))``.

    Parameters
    ----------
    encoder : TextEncoder
        Encoder of the source. The decoder has the same width, heads, feedforward and dropout.
    layers : int
        Number of layers of the decoder.
    max_length : int
        Maximum number of tokens of a translation, including the start and excluding the end.
    """

    def __init__(self, encoder: TextEncoder, *, layers: int, max_length: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = TranslatorDecoder(
            layers=layers,
            width=encoder.dim,
            heads=encoder.heads,
            feedforward=encoder.feedforward,
            dropout=encoder.dropout.p,
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
            Logits of every character and end token of the targets, n in all.
        expected : Tensor of int64, (n,)
            The actual ids.
        text : Tensor of int64, (n,)
            Rows of the batch that they belong to.
        """
        logits, expected, text = [], [], []
        for rows in group_by_length(target):
            sources, targets = trim_padding(source[rows]), trim_padding(target[rows])
            inputs, outputs = targets[:, :-1], targets[:, 1:]
            states = self.decoder(inputs, self.encoder.states(sources), sources == PAD)
            inside = outputs != PAD
            logits.append(self.out(states[inside]))
            expected.append(outputs[inside])
            text.append(rows.repeat_interleave(inside.sum(dim=1)))
        return torch.cat(logits), torch.cat(expected), torch.cat(text)
