"""Pretraining on masked characters of SMILES or names."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from modalities.featurizers.characters import END, PAD, START
from modalities.featurizers.molecule import featurizer_version
from modalities.pretraining._base import require_option
from modalities.pretraining._text import TextCorpus, read_texts

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modalities._base import Modality
    from modalities.nn.objectives import MaskedCharacterModel
    from modalities.pretraining._base import MoleculeBatch

NAME = "masked_characters"
MASK = END
"""Id of a masked character: that of the end token, which the encoder's input never contains."""
MASKED, REPLACED = 0.8, 0.1
"""Shares of the hidden characters that become `MASK`, or a random character (Devlin et al.)."""


class MaskedCharacters:
    """Masked language modeling (BERT: Devlin et al., NAACL 2019) of characters, SMILES or names.

    Each character is hidden with probability `share`, and at least one in every text. Of the
    hidden characters, 80 % are masked, 10 % are replaced by a character drawn from the batch and
    10 % are left unchanged. ``loss = -mean log p(c_i | text with hidden characters)`` over the
    hidden characters; ``token_accuracy`` is the share of them that is predicted.

    Parameters
    ----------
    share : float
        Share of the characters that are hidden.
    randomize : bool
        Whether a SMILES is written with another order of atoms in each batch.
    """

    modalities: ClassVar[tuple[str, ...]] = ("smiles", "iupac")
    named: ClassVar[bool] = False

    def __init__(self, *, share: float = 0.15, randomize: bool = True) -> None:
        require_option(NAME, "share", share, "above 0 and below 1", 0 < share < 1)
        self.share = share
        self.randomize = randomize

    @property
    def version(self) -> str:
        """Identity of the task: its revision and options."""
        return featurizer_version(NAME, 1, "rdkit", **vars(self))

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> TextCorpus:
        """Read the text of each molecule.

        Raises
        ------
        ModalityError
            A text is too long or has a character outside printable ASCII, or the modality reads
            names and a molecule has none; the message names the molecule.
        """
        return read_texts(modality, molecules, randomize=self.randomize)

    def model(self, encoder: nn.Module, *, seed: int) -> MaskedCharacterModel:
        """Build the encoder with an output layer over characters, initialized from `seed`."""
        from modalities.nn.objectives import MaskedCharacterModel
        from modalities.nn.random import seeded

        with seeded(seed):
            return MaskedCharacterModel(encoder)

    def collate(
        self, examples: TextCorpus, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Build tokens (b, t) with hidden characters, and expected (b, t).

        ``expected`` has the ids of the hidden characters, and padding elsewhere.
        """
        import torch

        tokens = examples.build_batch(rows, rng)
        hidden = draw_hidden(tokens, self.share, rng)
        return {
            "tokens": torch.from_numpy(corrupt(tokens, hidden, rng)),
            "expected": torch.from_numpy(np.where(hidden, tokens, PAD)),
        }


def draw_hidden(
    tokens: NDArray[np.int64], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw the characters of ids (b, t) to hide: bool (b, t), at least one in every row."""
    draw = np.where(_is_character(tokens), rng.random(tokens.shape), np.inf)
    smallest = (draw == draw.min(axis=1, keepdims=True)) & np.isfinite(draw)
    hidden: NDArray[np.bool_] = (draw < share) | smallest
    return hidden


def corrupt(
    tokens: NDArray[np.int64], hidden: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Mask, replace or leave the hidden characters of ids (b, t)."""
    draw = rng.random(tokens.shape)
    others = rng.choice(tokens[_is_character(tokens)], tokens.shape)
    changed = np.where(draw < MASKED, MASK, np.where(draw < MASKED + REPLACED, others, tokens))
    return np.where(hidden, changed, tokens)


def _is_character(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    is_character: NDArray[np.bool_] = (tokens != START) & (tokens != PAD)
    return is_character
