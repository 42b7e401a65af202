"""Translation between SMILES and IUPAC names, with teacher forcing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityError, Ragged
from modalities.featurizers.characters import END, character_ids, pad_ids
from modalities.featurizers.molecule import featurizer_version
from modalities.pretraining._base import require_option
from modalities.pretraining._text import TextCorpus, name_ids, read_texts, text_network

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modalities._base import Modality
    from modalities.nn.objectives import TranslationModel
    from modalities.pretraining._base import MoleculeBatch


WORD = "translation"


@dataclass(frozen=True, eq=False)
class TranslationPairs:
    """Texts of n molecules and their translations (start, characters, end)."""

    sources: TextCorpus
    targets: Ragged


class Translation:
    """SMILES -> name or back (Morris et al., J. Chem. Inf. Model., 2020).

    ``loss = -mean log p(c_i | c_<i, source)`` over the characters and ends of all translations
    of the batch. Measured beside it: ``token_accuracy``, the share of them that are right when
    all before are given; ``sequence_accuracy``, the share of translations all right so.

    Parameters
    ----------
    direction : {'smiles_to_name', 'name_to_smiles'}
        What is read and what is written: trains the encoder of `smiles` or of `iupac`.
    decoder_layers : int
        Of the half that writes, which has the encoder's width and is not kept.
    randomize : bool
        Whether a SMILES that is read has another order of atoms in each batch. A SMILES that is
        written stays as it is.
    max_length : int
        Most tokens of a translation, start and end included.
    """

    modalities: ClassVar[tuple[str, ...]] = ("smiles", "iupac")
    named: ClassVar[bool] = True

    def __init__(
        self,
        *,
        direction: Literal["smiles_to_name", "name_to_smiles"] = "smiles_to_name",
        decoder_layers: int = 2,
        randomize: bool = True,
        max_length: int = 256,
    ) -> None:
        known = direction in ("smiles_to_name", "name_to_smiles")
        require_option(WORD, "direction", direction, "smiles_to_name or name_to_smiles", known)
        require_option(WORD, "decoder_layers", decoder_layers, "1 or more", decoder_layers >= 1)
        require_option(WORD, "max_length", max_length, "3 or more", max_length >= 3)
        self.direction = direction
        self.decoder_layers = decoder_layers
        self.randomize = randomize
        self.max_length = max_length

    @property
    def version(self) -> str:
        """Identity of the task: its options and the revision of its numbers."""
        return featurizer_version(WORD, 1, "rdkit", **vars(self))

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> TranslationPairs:
        """Read both texts of each molecule.

        Raises
        ------
        ModalityError
            A text is too long or has a character outside printable ASCII, a molecule has no
            name, or the modality is not what `direction` reads; the message says which.
        """
        read = "smiles" if self.direction == "smiles_to_name" else "iupac"
        if text_network(modality).name != read:
            raise ModalityError(
                f"objective '{WORD}': direction {self.direction} trains '{read}', not "
                f"'{text_network(modality).name}'; choose the other direction or modality"
            )
        ends = [np.append(ids, np.uint8(END)) for ids in self._written(molecules)]
        return TranslationPairs(
            read_texts(modality, molecules, randomize=self.randomize), Ragged.stack(ends)
        )

    def model(self, encoder: nn.Module, *, seed: int) -> TranslationModel:
        """Return the translator around `encoder`; the decoder starts from `seed`."""
        from modalities.nn.objectives import TranslationModel
        from modalities.nn.random import seeded

        with seeded(seed):
            return TranslationModel(
                encoder, layers=self.decoder_layers, max_length=self.max_length - 1
            )

    def collate(
        self, examples: TranslationPairs, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Pad both sides: source (b, s) and target (b, t)."""
        import torch

        return {
            "source": torch.from_numpy(examples.sources.batch(rows, rng)),
            "target": torch.from_numpy(pad_ids(examples.targets.take(rows))),
        }

    def _written(self, molecules: MoleculeBatch) -> list[NDArray[np.uint8]]:
        longest = self.max_length - 1  # the end is one more
        if self.direction == "smiles_to_name":
            return name_ids(molecules, longest)
        places = [f"molecule '{smiles}'" for smiles in molecules.smiles]
        pairs = zip(molecules.smiles, places, strict=True)
        return [character_ids(text, place, max_length=longest) for text, place in pairs]
