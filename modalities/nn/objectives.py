"""Models of the pretraining objectives: an encoder with the head and loss of its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import cross_entropy, huber_loss, mse_loss, normalize

from modalities._base import ModalityError
from modalities.featurizers.characters import ALPHABET, PAD
from modalities.nn.graph import FEATURE, MolclrEncoder
from modalities.nn.tabular import TabularEncoder
from modalities.nn.transformer import TextEncoder, group_by_length, initialize_weights, trim_padding
from modalities.nn.translator import Translator

PROJECTION = 256
"""Width of the projection of contrastive pretraining."""


class ContrastiveModel(nn.Module):
    """``z = out_lin(encoder(view))``, trained by NT-Xent.

    ``L = mean_i -log( exp(s_ij / τ) / sum_{k != i} exp(s_ik / τ) )``: i runs over the 2 b views, j
    is the other view of the same molecule, s the cosine of z. Chen et al. (ICML 2020), equation 1.
    """

    def __init__(self, encoder: nn.Module, *, temperature: float) -> None:
        super().__init__()
        if not isinstance(encoder, MolclrEncoder):
            raise ModalityError(
                "objective 'contrastive' trains the encoder of 'graph', "
                f"not {type(encoder).__name__}"
            )
        self.encoder = encoder
        self.out_lin = nn.Sequential(
            nn.Linear(FEATURE, FEATURE), nn.ReLU(), nn.Linear(FEATURE, PROJECTION)
        )
        self.temperature = temperature

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return ``loss`` and ``top1_accuracy``.

        The accuracy is the share of views whose nearest view is that of the same molecule.
        """
        logits = compute_nt_xent_logits(self.out_lin(self.encoder(batch)), self.temperature)
        partner = torch.arange(len(logits), device=logits.device).roll(len(logits) // 2)
        correct = logits.detach().argmax(dim=1) == partner
        return {"loss": cross_entropy(logits, partner), "top1_accuracy": correct.float().mean()}


def compute_nt_xent_logits(projections: torch.Tensor, temperature: float) -> torch.Tensor:
    """Compute ``s_ik / τ`` of projections (2 b, p), minus infinity for k = i: -> (2 b, 2 b)."""
    z = normalize(_to_float32(projections), dim=1)
    return (z @ z.T / temperature).fill_diagonal_(-torch.inf)


def _to_float32(values: torch.Tensor) -> torch.Tensor:
    """Convert to single precision at least, because similarities are divided by a small number."""
    dtype: Any = torch.promote_types(values.dtype, torch.float32)
    return values.to(dtype)


LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LOSSES: Mapping[str, LossFunction] = {"squared": mse_loss, "huber": huber_loss}


class MaskedDescriptorModel(nn.Module):
    """Predicts the scaled descriptors s from those not hidden: ``D encoder(s * (1 - hidden))``."""

    def __init__(self, encoder: nn.Module, *, loss: Literal["squared", "huber"]) -> None:
        super().__init__()
        if not isinstance(encoder, TabularEncoder):
            raise ModalityError(
                "objective 'masked_descriptors' trains the encoder of 'mordred_network', not "
                f"{type(encoder).__name__}"
            )
        self.encoder = encoder
        self.decoder = nn.Linear(encoder.dim, len(encoder.scaler.kept))
        self.loss: LossFunction = LOSSES[loss]

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return ``loss`` and ``r2``, both over the hidden values that are present.

        ``r2 = 1 - sum (s - predicted)^2 / sum s^2`` compares with predicting the mean of every
        column, which is 0 after scaling. It is NaN if all those values are 0.
        """
        scaler = self.encoder.scaler
        scaled = scaler(batch["values"])  # (b, m)
        hidden = batch["hidden"] & scaler.present(batch["values"])
        predicted = self.decoder(self.encoder.embed(scaled.masked_fill(hidden, 0.0)))
        predicted, expected = predicted[hidden].to(scaled.dtype), scaled[hidden]
        residual = (predicted.detach() - expected).square().sum()
        return {
            "loss": self.loss(predicted, expected),
            "r2": 1 - residual / expected.square().sum(),
        }


class TranslationModel(nn.Module):
    """A translator, trained by the cross-entropy of the characters and end tokens of a batch.

    Parameters
    ----------
    encoder : TextEncoder
    layers, max_length : int
        Options of the decoder, as in `modalities.nn.translator.Translator`.
    """

    def __init__(self, encoder: nn.Module, *, layers: int, max_length: int) -> None:
        super().__init__()
        self.translator = Translator(
            require_text_encoder(encoder), layers=layers, max_length=max_length
        )

    @property
    def encoder(self) -> nn.Module:
        """The encoder, whose state dict becomes the checkpoint."""
        return self.translator.encoder

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return loss, token_accuracy and sequence_accuracy of source (b, s), target (b, t)."""
        logits, expected, text = self.translator(batch["source"], batch["target"])
        correct = logits.argmax(dim=1) == expected
        mistakes = correct.new_zeros(len(batch["target"]), dtype=torch.long)
        mistakes = mistakes.index_add(0, text, (~correct).long())  # (b,)
        return {
            "loss": functional.cross_entropy(logits, expected),
            "token_accuracy": correct.float().mean(),
            "sequence_accuracy": (mistakes == 0).float().mean(),
        }


class MaskedCharacterModel(nn.Module):
    """Predicts every hidden character from its state: ``softmax(out(state))``.

    Parameters
    ----------
    encoder : TextEncoder
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = require_text_encoder(encoder)
        self.out = nn.Linear(self.encoder.dim, ALPHABET)
        initialize_weights(self.out)

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return loss and token_accuracy of tokens (b, t), expected (b, t)."""
        states, characters = [], []
        for rows in group_by_length(batch["tokens"]):
            tokens = trim_padding(batch["tokens"][rows])
            expected = batch["expected"][rows, : tokens.shape[1]]
            hidden = expected != PAD
            states.append(self.encoder.states(tokens)[hidden])
            characters.append(expected[hidden])
        logits, expected = self.out(torch.cat(states)), torch.cat(characters)
        return {
            "loss": functional.cross_entropy(logits, expected),
            "token_accuracy": (logits.argmax(dim=1) == expected).float().mean(),
        }


def require_text_encoder(encoder: nn.Module) -> TextEncoder:
    """Return the encoder after checking that it is a text encoder.

    Raises
    ------
    TypeError
        It is not. The caller should have checked the `modalities` of the objective.
    """
    if not isinstance(encoder, TextEncoder):
        raise TypeError(f"text objectives train a TextEncoder, not {type(encoder).__name__}")
    return encoder
