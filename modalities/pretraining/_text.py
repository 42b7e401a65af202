"""What the text objectives share: corpora as token ids, models, batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityError, Ragged
from modalities.featurizers.characters import character_ids, pad_ids
from modalities.featurizers.molecule import parse_smiles

if TYPE_CHECKING:
    from modalities._base import Modality
    from modalities.featurizers.characters import TextNetwork
    from modalities.pretraining._base import MoleculeBatch


SEEDS = 2**31 - 1
"""RDKit takes seeds from 1 to this."""


class TextModality(Protocol):
    """A modality whose encoder is a `modalities.nn.transformer.TextEncoder`."""

    network: TextNetwork
    """Its word and the shape of the encoder."""


@dataclass(frozen=True, eq=False)
class TextCorpus:
    """Texts of n molecules, as an encoder reads them.

    Attributes
    ----------
    ids : Ragged of uint8
        Start and characters of molecule i.
    redrawn : tuple of str, (n,) or ()
        SMILES that are written in another order of atoms in each batch; none: the ids stay.
    max_length : int
        Most ids of a text; where a SMILES drawn anew has more, the stored one is read.
    """

    ids: Ragged
    redrawn: tuple[str, ...]
    max_length: int

    def batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the ids of these molecules, padded: (b, longest)."""
        if not self.redrawn:
            return pad_ids(self.ids.take(rows))
        return pad_ids(Ragged.stack([self._drawn(int(row), rng) for row in rows]))

    def _drawn(self, row: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        text = randomize_smiles(self.redrawn[row], rng)
        if 1 + len(text) > self.max_length:
            return self.ids[row]
        return character_ids(text, f"molecule '{text}'", max_length=self.max_length)


def read_texts(modality: Modality, molecules: MoleculeBatch, *, randomize: bool) -> TextCorpus:
    """Read SMILES or names, as the modality does.

    Raises
    ------
    ModalityError
        A molecule has no name, or its text cannot be read; the message names it.
    """
    network = text_network(modality)
    ids = [_read(modality, smiles) for smiles in molecules.smiles]
    drawn = molecules.smiles if randomize and network.name == "smiles" else ()
    return TextCorpus(Ragged.stack(ids), drawn, network.max_length)


def _read(modality: Modality, smiles: str) -> NDArray[np.uint8]:
    record = modality.featurize(smiles)
    if not record.get("named", np.ones(1))[0]:
        raise ModalityError(
            f"molecule '{smiles}' has no name in the table of the modality; name it or leave it out"
        )
    return record["tokens"]


def text_network(modality: Modality) -> TextNetwork:
    """Return the word and network of a text modality."""
    return cast("TextModality", modality).network


def name_ids(molecules: MoleculeBatch, max_length: int) -> list[NDArray[np.uint8]]:
    """Return start and characters of each name.

    Raises
    ------
    ModalityError
        A molecule has no name, or one that cannot be read; the message gives the molecule.
    """
    ids = []
    for smiles, name in zip(molecules.smiles, molecules.names, strict=True):
        if not name:
            raise ModalityError(f"molecule '{smiles}' has no name; name it or leave it out")
        place = f"molecule '{smiles}', name '{name}'"
        ids.append(character_ids(name, place, max_length=max_length))
    return ids


def randomize_smiles(smiles: str, rng: np.random.Generator) -> str:
    """Write a molecule in a random order of its atoms (Arús-Pous et al., J. Cheminf. 2019)."""
    from rdkit.Chem import MolToRandomSmilesVect

    seed = int(rng.integers(1, SEEDS))
    text: str = MolToRandomSmilesVect(parse_smiles(smiles), 1, randomSeed=seed)[0]
    return text
