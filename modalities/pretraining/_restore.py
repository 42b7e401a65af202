"""A descriptor network with the decoder that restores what was hidden from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import huber_loss, mse_loss

from modalities._base import ModalityError
from modalities._tabular import TabularEncoder

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
