"""The translation transformer: a text encoder and the half that writes the translation.

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
    trim,
)


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
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerDecoderLayer(width, heads, feedforward, dropout, **LAYER)
        self.transformer = nn.TransformerDecoder(layer, layers)
        self.norm = nn.LayerNorm(width, LAYER["layer_norm_eps"])

    def forward(
        self, tokens: torch.Tensor, source: torch.Tensor, padding: torch.Tensor
    ) -> torch.Tensor:
        """Let tokens (b, t) read themselves, earlier ones and the source (b, s, d): -> (b, t, d).

        `padding` (b, s) is where the source has no token. That of the tokens comes last, out of
        sight of all others.
        """
        x = self.dropout(self.embed(tokens) + self.pe(tokens))
        later = nn.Transformer.generate_square_subsequent_mask(
            tokens.shape[1], device=x.device, dtype=x.dtype
        )
        x = self.transformer(
            x, source, tgt_mask=later, tgt_is_causal=True, memory_key_padding_mask=padding
        )
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
        logits, expected, text = [], [], []
        for rows in group_by_length(target):
            read, written = trim(source[rows]), trim(target[rows])
            shown, following = written[:, :-1], written[:, 1:]
            states = self.decoder(shown, self.encoder.states(read), read == PAD)
            inside = following != PAD
            logits.append(self.out(states[inside]))
            expected.append(following[inside])
            text.append(rows.repeat_interleave(inside.sum(dim=1)))
        return torch.cat(logits), torch.cat(expected), torch.cat(text)
