"""Alphabet and network options of the two text modalities, `smiles` and `iupac`.

Morris et al., "Predicting Binding from Screening Data with Transformer Network Embeddings",
J. Chem. Inf. Model. (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityError, Ragged
from modalities.featurizers.molecule import require_option

if TYPE_CHECKING:
    from modalities.nn.transformer import TextEncoder

FIRST, LAST = " ", "~"
"""Ends of printable ASCII, 95 characters; the id of a character is its code point - 32."""
START, END, PAD = 95, 96, 97
"""Ids of the special tokens."""
ALPHABET = 98
"""Number of ids."""
Pooling = Literal["mean", "start", "max"]
EncoderT = TypeVar("EncoderT", bound="TextEncoder")


def encode_text(text: str, source: str, *, max_length: int) -> NDArray[np.uint8]:
    """Convert text to ids, with a start token and no end token: (1 + characters,).

    Parameters
    ----------
    text : str
    source : str
        Where the text is from, for messages.
    max_length : int
        Maximum number of ids, including the start token.

    Raises
    ------
    ModalityError
        The text is too long, or a character is outside printable ASCII.
    """
    invalid = [character for character in text if not FIRST <= character <= LAST]
    if invalid:
        raise ModalityError(
            f"{source}: character {invalid[0]!r} is not printable ASCII; rewrite the text without "
            "it"
        )
    if 1 + len(text) > max_length:
        raise ModalityError(
            f"{source}: {1 + len(text)} tokens (its {len(text)} characters and a start) are more "
            f"than max_length={max_length}; raise max_length or drop the molecule"
        )
    ids = np.frombuffer(text.encode("ascii"), dtype=np.uint8) - ord(FIRST)
    return np.concatenate([[START], ids]).astype(np.uint8)


def pad_ids(texts: Ragged) -> NDArray[np.int64]:
    """Pad the ids of n texts at the end to the longest one: (n, longest)."""
    inside = np.arange(texts.lengths.max(initial=0)) < texts.lengths[:, None]
    tokens = np.full(inside.shape, PAD, dtype=np.int64)
    tokens[inside] = texts.values
    return tokens


@dataclass(frozen=True)
class TextNetwork:
    """Checked options of a text modality that define its encoder.

    Attributes
    ----------
    name : str
        Name of the modality.
    layers, width, heads, feedforward, dropout, max_length, pooling, weights, sha256
        As in `modalities.smiles.Smiles`.
    """

    name: str
    layers: int
    width: int
    heads: int
    feedforward: int
    dropout: float
    max_length: int
    pooling: Pooling
    weights: str
    sha256: str | None

    def __post_init__(self) -> None:
        for option in ("layers", "heads", "feedforward"):
            self._require(option, "1 or more", getattr(self, option) >= 1)
        self._require("width", "2 or more", self.width >= 2)
        self._require("width", f"a multiple of heads={self.heads}", self.width % self.heads == 0)
        self._require("dropout", "from 0 to below 1", 0 <= self.dropout < 1)
        self._require("max_length", "2 or more", self.max_length >= 2)
        self._require("pooling", "mean, start or max", self.pooling in ("mean", "start", "max"))
        allowed = self.sha256 is None or self.weights != "random"
        self._require("sha256", "left out when weights are random", allowed)

    def _require(self, option: str, rule: str, holds: bool) -> None:
        require_option(self.name, option, getattr(self, option), rule, holds)

    def build_encoder(self, *, seed: int) -> TextEncoder:
        """Build the encoder with the weights of the checkpoint, or random ones from `seed`."""
        from modalities.nn.transformer import TextEncoder

        return self.build(TextEncoder, seed=seed)

    def build(self, encoder_class: type[EncoderT], *, seed: int) -> EncoderT:
        """Build an encoder of a class with the weights of the checkpoint, or random ones.

        Raises
        ------
        ModalityError
            The checkpoint is missing or damaged, has another hash or is of another network.
        """
        from modalities.nn.random import seeded
        from modalities.weights.checkpoint import find_weights, load_weights
        from modalities.weights.published_translator import convert_published

        with seeded(seed):
            network = encoder_class(
                layers=self.layers,
                width=self.width,
                heads=self.heads,
                feedforward=self.feedforward,
                dropout=self.dropout,
                max_length=self.max_length,
                pooling=self.pooling,
            )
        if self.weights != "random":
            load_weights(
                network,
                find_weights(self.weights),
                sha256=self.sha256,
                prefix=network.prefix,
                ignorable=network.ignorable,
                convert=convert_published,
            )
        return network
