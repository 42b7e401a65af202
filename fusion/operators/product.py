"""Fusion by element-wise product."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from fusion.base import HeadShape
from fusion.layers import Branches, Readout


class Product(nn.Module):
    r"""Branches multiplied element by element: logits = readout(u_1 * ... * u_k).

    u_m is the branch of modality m up to `stage` (see `fusion.base.Stage`). At stage label:
    logits = W (p_1 * ... * p_k) + b with p_m = sigmoid(MLP_m(e_m)), as published.

    Parameters
    ----------
    dims : mapping of str to int
        Width of the embedding of each of k >= 2 modalities, in order.
    n_labels : int
        Number of labels l.
    head : HeadShape
        Hidden layers and dropout.
    stage : {"label", "logit", "latent"}
        Where the branches are fused.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        n_labels: int,
        head: HeadShape,
        *,
        stage: Literal["label", "logit", "latent"] = "label",
    ) -> None:
        super().__init__()
        self.branches = Branches(dims, n_labels, head, stage)
        self.readout = Readout(self.branches.width, n_labels, head, stage)

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Map ``{modality: (b, d_m)}`` to logits (b, l)."""
        branches: Tensor = self.branches(embeddings)  # (b, k, w)
        # Not torch.prod: its gradient takes a slow path where a factor is 0, as is common after
        # the ReLU of stage latent.
        logits: Tensor = self.readout(reduce(torch.mul, branches.unbind(1)))
        return logits
