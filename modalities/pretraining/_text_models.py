"""Networks of the text objectives: a text encoder and what predicts characters from it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from modalities._text import ALPHABET, PAD
from modalities._text_encoder import TextEncoder, start_evenly
from modalities._text_places import Places, by_length
from modalities._translator import Translator


class TranslationModel(nn.Module):
    """Cross-entropy of the translator over the characters and ends of a batch.

    Parameters
    ----------
    encoder : TextEncoder
    layers, max_length : int
        Of the decoder, as in `modalities._translator.Translator`.
    """

    def __init__(self, encoder: nn.Module, *, layers: int, max_length: int) -> None:
        super().__init__()
        self.translator = Translator(text_encoder(encoder), layers=layers, max_length=max_length)

    @property
    def encoder(self) -> nn.Module:
        """What is kept."""
        return self.translator.encoder

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return loss, token_accuracy and sequence_accuracy of source (b, s), target (b, t)."""
        logits, expected, text = self.translator(batch["source"], batch["target"])
        right = logits.argmax(dim=1) == expected
        wrong = right.new_zeros(len(batch["target"]), dtype=torch.long)
        wrong = wrong.index_add(0, text, (~right).long())
        return {
            "loss": functional.cross_entropy(logits, expected),
            "token_accuracy": right.float().mean(),
            "sequence_accuracy": (wrong == 0).float().mean(),
        }


class MaskedModel(nn.Module):
    """``softmax(out(state))`` of each hidden character.

    Parameters
    ----------
    encoder : TextEncoder
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = text_encoder(encoder)
        self.out = nn.Linear(self.encoder.dim, ALPHABET)
        start_evenly(self.out)

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return loss and token_accuracy of tokens (b, t), expected (b, t)."""
        tokens = batch["tokens"]
        places = Places.of(tokens, by_length(tokens))
        expected = batch["expected"].flatten().index_select(0, places.index)
        chosen = (expected != PAD).nonzero().squeeze(1)
        states = self.encoder.read(tokens, places).index_select(0, chosen)
        logits, expected = self.out(states), expected.index_select(0, chosen)
        return {
            "loss": functional.cross_entropy(logits, expected),
            "token_accuracy": (logits.argmax(dim=1) == expected).float().mean(),
        }


def text_encoder(encoder: nn.Module) -> TextEncoder:
    """Return the encoder, which must be one of text.

    Raises
    ------
    TypeError
        It is another one: the objective's `modalities` were not asked.
    """
    if not isinstance(encoder, TextEncoder):
        raise TypeError(f"text objectives train a TextEncoder, not {type(encoder).__name__}")
    return encoder
