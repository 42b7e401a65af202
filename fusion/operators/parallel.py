"""Fusion by sum, mean or learned weighting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from fusion.base import FusionError, HeadShape
from fusion.layers import Branches, Readout


class Parallel(nn.Module):
    r"""Weighted sum of the branches: logits = readout(sum_m a_m * u_m).

    u_m is the branch of modality m up to `stage` (see `fusion.base.Stage`), a_m its weights (w,):

    - add: a_m = 1, as published (at stage label: logits = W sum_m sigmoid(MLP_m(e_m)) + b);
    - mean: a_m = 1 / k;
    - learned: a = softmax over modalities of `preference` (k, w), which starts at zero (the mean);
      at stage label, a_ml is the weight of modality m for label l.

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
    combine : {"add", "mean", "learned"}
        How the weights a_m are set.

    Raises
    ------
    FusionError
        `combine` is unknown.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        n_labels: int,
        head: HeadShape,
        *,
        stage: Literal["label", "logit", "latent"] = "label",
        combine: Literal["add", "mean", "learned"] = "add",
    ) -> None:
        super().__init__()
        if combine not in ("add", "mean", "learned"):
            raise FusionError(f"combine '{combine}' is unknown; allowed: 'add', 'mean', 'learned'")
        self.combine = combine
        self.branches = Branches(dims, n_labels, head, stage)
        self.readout = Readout(self.branches.width, n_labels, head, stage)
        if combine == "learned":
            self.preference = nn.Parameter(torch.zeros(len(dims), self.branches.width))

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Map ``{modality: (b, d_m)}`` to logits (b, l)."""
        branches: Tensor = self.branches(embeddings)  # (b, k, w)
        logits: Tensor = self.readout(self.sum_branches(branches))
        return logits

    def sum_branches(self, branches: Tensor) -> Tensor:
        """Add the weighted branches: (b, k, w) -> (b, w)."""
        if self.combine == "add":
            return branches.sum(1)
        if self.combine == "mean":
            return branches.mean(1)
        return (self.preference.softmax(0) * branches).sum(1)
