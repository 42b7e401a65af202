"""Fusion by concatenation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from fusion.base import HeadShape
from fusion.layers import Branches, Readout


class Concat(nn.Module):
    r"""Concatenated branches: logits = readout([u_1, ..., u_k]).

    u_m is the branch of modality m up to `stage` (see `fusion.base.Stage`). At stage label:
    logits = W [sigmoid(MLP_1(e_1)), ..., sigmoid(MLP_k(e_k))] + b, the published "MLP head".

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
        self.readout = Readout(len(dims) * self.branches.width, n_labels, head, stage)

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Map ``{modality: (b, d_m)}`` to logits (b, l)."""
        branches: Tensor = self.branches(embeddings)  # (b, k, w)
        logits: Tensor = self.readout(branches.flatten(1))
        return logits
