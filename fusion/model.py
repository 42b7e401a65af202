"""The multimodal model: encoders and a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fusion.base import check_names


class MultimodalModel(nn.Module):
    r"""Encoders of all modalities and a head: logits = head({m: encoder_m(batch_m)}).

    Parameters
    ----------
    encoders : mapping of str to Module or None
        Encoder of each modality. None if the batch already holds the embedding (b, d_m), as with
        frozen encoders, whose embeddings are computed once.
    head : Module
        A fusion operator, a `LabelBalancer` or a `SingleHead`.
    """

    def __init__(self, encoders: Mapping[str, nn.Module | None], head: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(
            {
                m: encoder if encoder is not None else nn.Identity()
                for m, encoder in encoders.items()
            }
        )
        self.head = head

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Map ``{modality: input of its encoder}`` to logits (b, l).

        Raises
        ------
        FusionError
            The batch lacks a modality or has an unknown one.
        """
        check_names("batch", self.encoders, batch)
        logits: Tensor = self.head({m: encoder(batch[m]) for m, encoder in self.encoders.items()})
        return logits
