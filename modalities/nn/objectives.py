"""Models of the pretraining objectives: an encoder with the head and the loss that train it."""

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
from modalities.nn.transformer import TextEncoder, group_by_length, initialize_weights, trim
from modalities.nn.translator import Translator

PROJECTION = 256


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
        """Return ``loss`` and ``top1_accuracy``: how many views are nearest to their other view."""
        logits = nt_xent_logits(self.out_lin(self.encoder(batch)), self.temperature)
        partner = torch.arange(len(logits), device=logits.device).roll(len(logits) // 2)
        found = logits.detach().argmax(dim=1) == partner
        return {"loss": cross_entropy(logits, partner), "top1_accuracy": found.float().mean()}


def nt_xent_logits(projections: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return ``s_ik / τ`` of projections (2 b, p), minus infinity for k = i; (2 b, 2 b)."""
    z = normalize(_precise(projections), dim=1)
    return (z @ z.T / temperature).fill_diagonal_(-torch.inf)


def _precise(values: torch.Tensor) -> torch.Tensor:
    """Return values in single precision at least: similarities are divided by a small number."""
    widest: Any = torch.promote_types(values.dtype, torch.float32)
    return values.to(widest)


Error = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LOSSES: Mapping[str, Error] = {"squared": mse_loss, "huber": huber_loss}


class RestoringModel(nn.Module):
    """``D encoder(s * (1 - hidden))`` restores s, the scaled descriptors."""

    def __init__(self, encoder: nn.Module, *, loss: Literal["squared", "huber"]) -> None:
        super().__init__()
        if not isinstance(encoder, TabularEncoder):
            raise ModalityError(
                "objective 'masked_descriptors' trains the encoder of 'mordred_network', not "
                f"{type(encoder).__name__}"
            )
        self.encoder = encoder
        self.decoder = nn.Linear(encoder.dim, len(encoder.scaler.kept))
        self.error: Error = LOSSES[loss]

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return ``loss`` and ``r2``, both of hidden values that are present.

        ``r2 = 1 - sum (s - restored)^2 / sum s^2``: 0 is the mean of a scaled column, so this is
        against guessing every column's mean. NaN if all those values are 0.
        """
        scaler = self.encoder.scaler
        scaled = scaler(batch["values"])  # (b, m)
        hidden = batch["hidden"] & scaler.present(batch["values"])
        restored = self.decoder(self.encoder.embed(scaled.masked_fill(hidden, 0.0)))
        restored, wanted = restored[hidden].to(scaled.dtype), scaled[hidden]
        left, total = (restored.detach() - wanted).square().sum(), wanted.square().sum()
        return {"loss": self.error(restored, wanted), "r2": 1 - left / total}


class TranslationModel(nn.Module):
    """Cross-entropy of the translator over the characters and ends of a batch.

    Parameters
    ----------
    encoder : TextEncoder
    layers, max_length : int
        Of the decoder, as in `modalities.nn.translator.Translator`.
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
        initialize_weights(self.out)

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return loss and token_accuracy of tokens (b, t), expected (b, t)."""
        states, hidden = [], []
        for rows in group_by_length(batch["tokens"]):
            tokens = trim(batch["tokens"][rows])
            expected = batch["expected"][rows, : tokens.shape[1]]
            chosen = expected != PAD
            states.append(self.encoder.states(tokens)[chosen])
            hidden.append(expected[chosen])
        logits, expected = self.out(torch.cat(states)), torch.cat(hidden)
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
