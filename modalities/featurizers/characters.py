"""Text as both text modalities read it: the alphabet, and the options of their network.

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
"""Printable ASCII, 95 characters; the id of a character is its code point - 32."""
START, END, PAD = 95, 96, 97
ALPHABET = 98
Pooling = Literal["mean", "start", "max"]
EncoderT = TypeVar("EncoderT", bound="TextEncoder")


def character_ids(text: str, place: str, *, max_length: int) -> NDArray[np.uint8]:
    """Turn text into ids, start first and no end: (1 + characters,).

    Parameters
    ----------
    text : str
        What is read.
    place : str
        Whose text it is, for messages.
    max_length : int
        Most ids, the start included.

    Raises
    ------
    ModalityError
        The text is too long, or a character is outside printable ASCII.
    """
    strange = [character for character in text if not FIRST <= character <= LAST]
    if strange:
        raise ModalityError(
            f"{place}: character {strange[0]!r} is not printable ASCII; write it without it"
        )
    if 1 + len(text) > max_length:
        raise ModalityError(
            f"{place}: {1 + len(text)} tokens (its {len(text)} characters and a start) are more "
            f"than max_length={max_length}; raise max_length or drop it"
        )
    ids = np.frombuffer(text.encode("ascii"), dtype=np.uint8) - ord(FIRST)
    return np.concatenate([[START], ids]).astype(np.uint8)


def pad_ids(texts: Ragged) -> NDArray[np.int64]:
    """Pad the ids of n texts at the end, to the longest: (n, longest)."""
    inside = np.arange(texts.lengths.max(initial=0)) < texts.lengths[:, None]
    tokens = np.full(inside.shape, PAD, dtype=np.int64)
    tokens[inside] = texts.values
    return tokens


@dataclass(frozen=True)
class TextNetwork:
    """Options of a text modality that shape its encoder, checked.

    Attributes
    ----------
    name : str
        The modality, for messages.
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
        named = self.sha256 is None or self.weights != "random"
        self._require("sha256", "left out when weights are random", named)

    def _require(self, option: str, rule: str, holds: bool) -> None:
        require_option(self.name, option, getattr(self, option), rule, holds)

    def encoder(self, *, seed: int) -> TextEncoder:
        """Return the encoder with the weights of the checkpoint, or random ones from `seed`."""
        from modalities.nn.transformer import TextEncoder

        return self.build(TextEncoder, seed=seed)

    def build(self, kind: type[EncoderT], *, seed: int) -> EncoderT:
        """Return an encoder of this class with the checkpoint's weights, or from `seed`.

        Raises
        ------
        ModalityError
            The checkpoint is missing, damaged, has another hash or is another network's.
        """
        from modalities.nn.random import seeded
        from modalities.weights.checkpoint import find_weights, load_weights
        from modalities.weights.published_translator import convert_published

        with seeded(seed):
            network = kind(
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
