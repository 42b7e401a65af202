"""Texts of molecules as token ids, for the text objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityError, Ragged
from modalities.featurizers.characters import encode_text, pad_ids
from modalities.featurizers.molecule import randomize_smiles

if TYPE_CHECKING:
    from modalities._base import Modality
    from modalities.featurizers.characters import TextNetwork
    from modalities.pretraining._base import MoleculeBatch


class TextModality(Protocol):
    """A modality whose encoder is a `modalities.nn.transformer.TextEncoder`."""

    network: TextNetwork
    """Name of the modality and options of the encoder."""


@dataclass(frozen=True, eq=False)
class TextCorpus:
    """Texts of n molecules as token ids.

    Attributes
    ----------
    ids : Ragged of uint8
        Start token and characters of molecule i.
    randomized : tuple of str, (n,) or ()
        SMILES that are written with another order of atoms in each batch. If empty, every batch
        has the stored ids.
    max_length : int
        Maximum number of ids of a text. If a randomized SMILES is longer, the stored one is used.
    """

    ids: Ragged
    randomized: tuple[str, ...]
    max_length: int

    def build_batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the ids of these molecules, padded: (b, longest)."""
        if not self.randomized:
            return pad_ids(self.ids.take(rows))
        return pad_ids(Ragged.stack([self._randomize(int(row), rng) for row in rows]))

    def _randomize(self, row: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        text = randomize_smiles(self.randomized[row], rng)
        if 1 + len(text) > self.max_length:
            return self.ids[row]
        return encode_text(text, f"molecule '{text}'", max_length=self.max_length)


def read_texts(modality: Modality, molecules: MoleculeBatch, *, randomize: bool) -> TextCorpus:
    """Read the SMILES or names of molecules with a text modality.

    Raises
    ------
    ModalityError
        A molecule has no name, or its text cannot be read; the message names it.
    """
    network = get_text_network(modality)
    ids = [_featurize(modality, smiles) for smiles in molecules.smiles]
    randomized = molecules.smiles if randomize and network.name == "smiles" else ()
    return TextCorpus(Ragged.stack(ids), randomized, network.max_length)


def _featurize(modality: Modality, smiles: str) -> NDArray[np.uint8]:
    record = modality.featurize(smiles)
    if not record.get("named", np.ones(1))[0]:
        raise ModalityError(
            f"molecule '{smiles}' has no name in the table of the modality; name it or leave it out"
        )
    return record["tokens"]


def get_text_network(modality: Modality) -> TextNetwork:
    """Return name and network options of a text modality."""
    return cast("TextModality", modality).network


def encode_names(molecules: MoleculeBatch, max_length: int) -> list[NDArray[np.uint8]]:
    """Convert each name to token ids, with a start token and no end token.

    Raises
    ------
    ModalityError
        A molecule has no name, or its name cannot be read; the message states the molecule.
    """
    ids = []
    for smiles, name in zip(molecules.smiles, molecules.names, strict=True):
        if not name:
            raise ModalityError(f"molecule '{smiles}' has no name; name it or leave it out")
        source = f"molecule '{smiles}', name '{name}'"
        ids.append(encode_text(name, source, max_length=max_length))
    return ids
