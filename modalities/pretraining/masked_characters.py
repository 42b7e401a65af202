"""Restoring hidden characters of a text."""

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
    from modalities.nn.objectives import MaskedModel
    from modalities.pretraining._base import MoleculeBatch

WORD = "masked_characters"
MASK = END
"""What a hidden character looks like: an id of the alphabet that no text read ever holds."""
MASKED, REPLACED = 0.8, 0.1
"""Shares of the hidden characters that become `MASK`, or another character (Devlin et al.)."""


class MaskedCharacters:
    """Hide characters and restore them (BERT: Devlin et al., NAACL 2019), in SMILES or names.

    Each character is hidden with probability `share`, and one at least of every text. 80 % of
    them are masked, 10 % replaced by a character drawn from the batch, 10 % left. ``loss = -mean
    log p(c_i | text with hidden characters)`` over the hidden ones; ``token_accuracy`` is the
    share of them restored.

    Parameters
    ----------
    share : float
        Of the characters that are hidden.
    randomize : bool
        Whether a SMILES has another order of atoms in each batch.
    """

    modalities: ClassVar[tuple[str, ...]] = ("smiles", "iupac")
    named: ClassVar[bool] = False

    def __init__(self, *, share: float = 0.15, randomize: bool = True) -> None:
        require_option(WORD, "share", share, "above 0 and below 1", 0 < share < 1)
        self.share = share
        self.randomize = randomize

    @property
    def version(self) -> str:
        """Identity of the task: its options and the revision of its numbers."""
        return featurizer_version(WORD, 1, "rdkit", **vars(self))

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> TextCorpus:
        """Read the text of each molecule.

        Raises
        ------
        ModalityError
            A text is too long or has a character outside printable ASCII, or the modality reads
            names and a molecule has none; the message says which.
        """
        return read_texts(modality, molecules, randomize=self.randomize)

    def model(self, encoder: nn.Module, *, seed: int) -> MaskedModel:
        """Return the encoder with an output layer over characters, which starts from `seed`."""
        from modalities.nn.objectives import MaskedModel
        from modalities.nn.random import seeded

        with seeded(seed):
            return MaskedModel(encoder)

    def collate(
        self, examples: TextCorpus, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Hide characters: tokens (b, t), and expected (b, t), which is padding elsewhere."""
        import torch

        tokens = examples.batch(rows, rng)
        chosen = mask_positions(tokens, self.share, rng)
        return {
            "tokens": torch.from_numpy(corrupt(tokens, chosen, rng)),
            "expected": torch.from_numpy(np.where(chosen, tokens, PAD)),
        }


def mask_positions(
    tokens: NDArray[np.int64], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw which characters of ids (b, t) are hidden: (b, t)."""
    draw = np.where(_characters(tokens), rng.random(tokens.shape), np.inf)
    smallest = (draw == draw.min(axis=1, keepdims=True)) & np.isfinite(draw)
    chosen: NDArray[np.bool_] = (draw < share) | smallest
    return chosen


def corrupt(
    tokens: NDArray[np.int64], chosen: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Mask, replace or leave the chosen characters of ids (b, t)."""
    draw = rng.random(tokens.shape)
    others = rng.choice(tokens[_characters(tokens)], tokens.shape)
    changed = np.where(draw < MASKED, MASK, np.where(draw < MASKED + REPLACED, others, tokens))
    return np.where(chosen, changed, tokens)


def _characters(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (tokens != START) & (tokens != PAD)
    return inside
