"""Translation between SMILES and IUPAC names, with teacher forcing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityError, Ragged
from modalities.featurizers.characters import END, encode_text, pad_ids
from modalities.featurizers.molecule import featurizer_version
from modalities.pretraining._base import require_option
from modalities.pretraining._text import TextCorpus, encode_names, get_text_network, read_texts

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modalities._base import Modality
    from modalities.nn.objectives import TranslationModel
    from modalities.pretraining._base import MoleculeBatch


NAME = "translation"


@dataclass(frozen=True, eq=False)
class TranslationPairs:
    """Texts of n molecules and their translations (start token, characters, end token)."""

    sources: TextCorpus
    targets: Ragged


class Translation:
    """Translation of SMILES to names, or back (Morris et al., J. Chem. Inf. Model., 2020).

    ``loss = -mean log p(c_i | c_<i, source)`` over the characters and end tokens of all
    translations of the batch. ``token_accuracy`` is the share of them that is predicted from the
    correct preceding ones (teacher forcing), ``sequence_accuracy`` the share of translations
    without a wrong token.

    Parameters
    ----------
    direction : {'smiles_to_name', 'name_to_smiles'}
        Source and target: trains the encoder of `smiles` or of `iupac`.
    decoder_layers : int
        Number of layers of the decoder, which has the width of the encoder and is discarded in
        the end.
    randomize : bool
        Whether a source SMILES is written with another order of atoms in each batch. A target
        SMILES does not change.
    max_length : int
        Maximum number of tokens of a translation, start and end included.
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
        allowed = direction in ("smiles_to_name", "name_to_smiles")
        require_option(NAME, "direction", direction, "smiles_to_name or name_to_smiles", allowed)
        require_option(NAME, "decoder_layers", decoder_layers, "1 or more", decoder_layers >= 1)
        require_option(NAME, "max_length", max_length, "3 or more", max_length >= 3)
        self.direction = direction
        self.decoder_layers = decoder_layers
        self.randomize = randomize
        self.max_length = max_length

    @property
    def version(self) -> str:
        """Identity of the task: its revision and options."""
        return featurizer_version(NAME, 1, "rdkit", **vars(self))

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> TranslationPairs:
        """Read both texts of each molecule.

        Raises
        ------
        ModalityError
            A text is too long or has a character outside printable ASCII, a molecule has no
            name, or the modality is not the source of `direction`.
        """
        source = "smiles" if self.direction == "smiles_to_name" else "iupac"
        name = get_text_network(modality).name
        if name != source:
            raise ModalityError(
                f"objective '{NAME}': direction {self.direction} trains '{source}', not '{name}'; "
                "choose the other direction or modality"
            )
        targets = [np.append(ids, np.uint8(END)) for ids in self._encode_targets(molecules)]
        return TranslationPairs(
            read_texts(modality, molecules, randomize=self.randomize), Ragged.stack(targets)
        )

    def model(self, encoder: nn.Module, *, seed: int) -> TranslationModel:
        """Build the translator with this encoder; the decoder is initialized from `seed`."""
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
            "source": torch.from_numpy(examples.sources.build_batch(rows, rng)),
            "target": torch.from_numpy(pad_ids(examples.targets.take(rows))),
        }

    def _encode_targets(self, molecules: MoleculeBatch) -> list[NDArray[np.uint8]]:
        max_length = self.max_length - 1  # the end token is added later
        if self.direction == "smiles_to_name":
            return encode_names(molecules, max_length)
        return [
            encode_text(smiles, f"molecule '{smiles}'", max_length=max_length)
            for smiles in molecules.smiles
        ]
