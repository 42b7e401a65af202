"""The contrastive loss, and a graph network with the projection head it is taken on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from modalities._base import ModalityError
from modalities._molclr import FEATURE, MolclrEncoder

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
