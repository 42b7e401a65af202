"""Transformer encoder of text, its options, and the encoders of SMILES and IUPAC names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityError, ModalityFeatures
from modalities.featurizers.characters import ALPHABET, PAD, Pooling, pad_ids

BLOCK = 16
"""Number of texts that are padded together: fewer need less padding but more calls."""
LAYER: Mapping[str, Any] = {"batch_first": True, "norm_first": True, "layer_norm_eps": 1e-12}
"""Options of every layer. The published norm adds 1e-6 to the standard deviation, torch's norm adds
`layer_norm_eps` to the variance; both are negligible."""


def group_by_length(tokens: torch.Tensor) -> Sequence[torch.Tensor]:
    """Divide the texts of a batch (b, t) into blocks of similar length, as row indices."""
    order = (tokens != PAD).sum(dim=1).argsort(stable=True)
    return torch.split(order, BLOCK)


def trim_padding(tokens: torch.Tensor) -> torch.Tensor:
    """Remove the columns that are padding in every text."""
    return tokens[:, : int((tokens != PAD).sum(dim=1).max())]


class Positions(nn.Module):
    """The published positional encoding: ``pe[p, i] = sin(p / 10000^(2i/d))`` for even i.

    ``pe[p, i + 1] = cos(p / 10000^(2(i+1)/d))``: unlike in the usual encoding, sine and cosine of
    a pair have different exponents, which are twice the usual ones. The table is computed and
    therefore not part of our state dict.
    """

    pe: torch.Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("pe", compute_position_table(length, width), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the encoding of each position of tokens (b, t): -> (1, t, d)."""
        return self.pe[:, : tokens.shape[1]]


def compute_position_table(length: int, width: int) -> torch.Tensor:
    """Compute the positional table (1, length, width), float32 rounded from float64."""
    column = torch.arange(width, dtype=torch.float64)
    position = torch.arange(length, dtype=torch.float64)[:, None]
    angle = position / 10000.0 ** (2 * column / width)  # (length, width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()[None]


class TokenEmbedding(nn.Module):
    """Learned vectors of the characters, times sqrt(d)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(ALPHABET, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed ids (b, t): -> (b, t, d)."""
        vectors: torch.Tensor = self.embed(tokens)
        return vectors * math.sqrt(vectors.shape[-1])


class TextEncoder(nn.Module):
    """Text encoder of Morris et al. (2020): ``pool(norm(layers(sqrt(d) embed(id) + pe)))``.

    Padding is neither attended to nor pooled. The published checkpoint has other parameter names
    and is converted by `modalities.weights.published_translator`.

    Parameters
    ----------
    layers, width, heads, feedforward, dropout, max_length, pooling
        As in `modalities.smiles.Smiles`.
    """

    prefix: ClassVar[str] = "encoder."
    """Prefix of these weights in a checkpoint of the whole translator."""
    ignorable: ClassVar[tuple[str, ...]] = ("decoder.", "out.")
    """Prefixes of the other weights of such a checkpoint: the decoder."""

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
        self.heads, self.feedforward = heads, feedforward
        self.embed = TokenEmbedding(width)
        self.pe = Positions(max_length, width)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(width, heads, feedforward, dropout, **LAYER)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width, LAYER["layer_norm_eps"])
        initialize_weights(self)

    @property
    def dim(self) -> int:
        """Width of the embedding."""
        return self.embed.embed.embedding_dim

    def stages(self) -> Sequence[nn.Module]:
        """Return the embedding of characters, then every layer, the last one with the norm."""
        *lower, last = self.transformer.layers
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
        blocks = group_by_length(tokens)
        embedded = torch.cat([self._pool(trim_padding(tokens[rows])) for rows in blocks])
        return embedded.index_select(0, torch.cat(list(blocks)).argsort())

    def states(self, tokens: torch.Tensor) -> torch.Tensor:
        """Compute the state of each token, zero for padding: (b, t) -> (b, t, d)."""
        padding = tokens == PAD
        x = self.dropout(self.embed(tokens) + self.pe(tokens))
        states: torch.Tensor = self.norm(self.transformer(x, src_key_padding_mask=padding))
        return states.masked_fill(padding[..., None], 0.0)

    def _pool(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed texts (b, t) without dividing them into blocks: -> (b, d)."""
        states, inside = self.states(tokens), (tokens != PAD)[..., None]
        if self.pooling == "start":
            return states[:, 0]
        if self.pooling == "max":
            return states.masked_fill(~inside, -torch.inf).amax(dim=1)
        return states.sum(dim=1) / inside.sum(dim=1)


def initialize_weights(network: nn.Module) -> None:
    """Initialize every matrix with Xavier's uniform values, as in the publication.

    The matrices of query, key and value, which torch keeps in one tensor, are initialized
    separately, as if each were an `nn.Linear`. Biases are initialized as in `nn.Linear`. Torch
    builds its layers as copies of one layer, so this also gives each layer different values.
    """
    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention):
            bound = module.embed_dim**-0.5
            nn.init.uniform_(module.in_proj_bias, -bound, bound)
            for weight in module.in_proj_weight.detach().chunk(3):
                nn.init.xavier_uniform_(weight)
        elif isinstance(module, nn.Linear):
            module.reset_parameters()
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Embedding):
            nn.init.xavier_uniform_(module.weight)


class NameEncoder(TextEncoder):
    """Encoder of names: `TextEncoder`, or the learned vector `unnamed` for a missing name.

    Parameters
    ----------
    **options
        As in `TextEncoder`.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 (the parameters of TextEncoder)
        super().__init__(**options)
        self.unnamed = nn.Parameter(torch.zeros(self.dim))

    def stages(self) -> Sequence[nn.Module]:
        """Return the stages of `TextEncoder`, the last one with the vector `unnamed`."""
        *lower, last = super().stages()
        return [*lower, nn.ModuleList([last, nn.ParameterList([self.unnamed])])]

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Pad to the longest name of the batch: tokens (b, t) and named bool (b,).

        Raises
        ------
        ModalityError
            No molecule of the whole table has a name, so all would have the same embedding.
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
