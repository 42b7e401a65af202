"""SMILES text, read character by character."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from modalities._base import ModalityError, Record
from modalities._molecule import identity, parse, require

if TYPE_CHECKING:
    from modalities._characters import CharacterTransformer

CHARACTERS = 95
"""Printable ASCII; the id of a character is its code point - 32."""
START, END, PAD = 95, 96, 97
ALPHABET = 98


class Smiles:
    """Characters of a SMILES, in the alphabet of Morris et al. (J. Chem. Inf. Model., 2020).

    Features: ``tokens`` uint8 (1 + characters,), start first and no end. The encoder is a small
    transformer trained from scratch.

    Parameters
    ----------
    layers, width, heads, feedforward : int
        Shape of the transformer; the embedding has `width` numbers.
    dropout : float
        While training.
    max_length : int
        Most tokens of a molecule, the start included.
    pooling : {'mean', 'start', 'max'}
        How tokens become a molecule; 'start' takes the first one's state.
    """

    letter: ClassVar[str] = "S"
    trainable: ClassVar[bool] = True

    def __init__(
        self,
        *,
        layers: int = 2,
        width: int = 64,
        heads: int = 4,
        feedforward: int = 128,
        dropout: float = 0.1,
        max_length: int = 256,
        pooling: Literal["mean", "start", "max"] = "mean",
    ) -> None:
        sizes = {"layers": layers, "width": width, "heads": heads, "feedforward": feedforward}
        for name, size in sizes.items():
            require("smiles", name, size, "1 or more", size >= 1)
        require("smiles", "width", width, f"a multiple of heads={heads}", width % heads == 0)
        require("smiles", "dropout", dropout, "from 0 to below 1", 0 <= dropout < 1)
        require("smiles", "max_length", max_length, "2 or more", max_length >= 2)
        known = pooling in ("mean", "start", "max")
        require("smiles", "pooling", pooling, "mean, start or max", known)
        self.layers, self.width, self.heads, self.feedforward = layers, width, heads, feedforward
        self.dropout = dropout
        self.max_length = max_length
        self.pooling: Literal["mean", "start", "max"] = pooling

    @property
    def version(self) -> str:
        """Identity of the featurizer: the alphabet and the longest text it takes."""
        return identity("smiles", 1, max_length=self.max_length)

    def featurize(self, smiles: str) -> Record:
        """Turn characters into ids: ``tokens`` (1 + characters,).

        Raises
        ------
        ModalityError
            Not a SMILES, too long, or a character outside printable ASCII.
        """
        parse(smiles)
        strange = [text for text in smiles if not " " <= text <= "~"]
        if strange:
            raise ModalityError(
                f"molecule '{smiles}': character {strange[0]!r} is not printable ASCII; "
                "write the SMILES without it"
            )
        if 1 + len(smiles) > self.max_length:
            raise ModalityError(
                f"molecule '{smiles}': {1 + len(smiles)} tokens (its {len(smiles)} characters and "
                f"a start) are more than max_length={self.max_length}; raise max_length or drop it"
            )
        ids = np.frombuffer(smiles.encode("ascii"), dtype=np.uint8) - ord(" ")
        return {"tokens": np.concatenate([[START], ids]).astype(np.uint8)}

    def encoder(self, *, seed: int) -> CharacterTransformer:
        """Return a transformer with random weights from `seed`."""
        from modalities._characters import CharacterTransformer
        from modalities._seeding import seeded

        with seeded(seed):
            return CharacterTransformer(
                layers=self.layers,
                width=self.width,
                heads=self.heads,
                feedforward=self.feedforward,
                dropout=self.dropout,
                max_length=self.max_length,
                pooling=self.pooling,
            )
