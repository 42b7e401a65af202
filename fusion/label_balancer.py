"""The label balancer: every branch is trained on the labels it owns in this step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from fusion.base import FusionError, HeadShape, quoted
from fusion.layers import Branches
from fusion.partitions._base import Partition


class LabelBalancer(nn.Module):
    r"""One branch a modality, each label trained through its owner only.

    With z_m = MLP_m(e_m) (b, l) and owner o_j of label j,

    - training: logits_j = z_(o_j),j. Binary cross-entropy on these logits is the objective of the
      published study: the mean over all molecules and labels of sum_m [o_j = m] BCE(z_mj, y_j).
      So the training loop needs no special loss;
    - inference "mean": logits = logit(mean_m sigmoid(z_m)), as published;
    - inference "owner": as in training.

    Not reproduced: in the released code one branch applies a relu before its sigmoid, so its
    probabilities never fall below 1/2.

    Parameters
    ----------
    dims : mapping of str to int
        Width of the embedding of each of k >= 2 modalities, in the order of the partition.
    n_labels : int
        Number of labels l.
    head : HeadShape
        Hidden layers and dropout of each branch.
    partition : Partition
        The owners; asked anew at every training step if ``partition.per_batch``. Fixed owners
        are a buffer of this module and travel with its weights.
    inference : {"mean", "owner"}, optional
        Default: "owner" for a fixed partition, because a branch never saw the labels of the
        others, and "mean" for one drawn per batch.

    Raises
    ------
    FusionError
        The partition is of other modalities or labels, or "owner" is asked of owners that change
        at every step.
    """

    owner: Tensor | None

    def __init__(
        self,
        dims: Mapping[str, int],
        n_labels: int,
        head: HeadShape,
        partition: Partition,
        *,
        inference: Literal["mean", "owner"] | None = None,
    ) -> None:
        super().__init__()
        _check_fit(dims, n_labels, partition)
        self.branches = Branches(dims, n_labels, head, "logit")
        self.partition = partition
        self._draws = 0
        self.register_buffer("owner", None if partition.per_batch else partition.draw())
        self.inference = inference or ("mean" if partition.per_batch else "owner")
        if self.inference not in ("mean", "owner"):
            raise FusionError(f"inference '{inference}' is unknown; allowed: 'mean', 'owner'")
        if self.inference == "owner" and self.owner is None:
            raise FusionError("owners drawn per batch do not last: inference must be 'mean'")

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Map ``{modality: (b, d_m)}`` to logits (b, l)."""
        logits: Tensor = self.branches(embeddings)  # (b, k, l)
        if self.inference == "mean" and not self.training:
            return mean_logit(logits)
        owner = self.deal() if self.owner is None else self.owner
        return owned_logit(logits, owner.to(logits.device))

    def deal(self) -> Tensor:
        """Return the owners of the next training step, (l,)."""
        self._draws += 1
        return self.partition.draw()

    def get_extra_state(self) -> Tensor:
        """Return how many owners were drawn: a resumed training goes on with the next ones."""
        return torch.tensor(self._draws)

    def set_extra_state(self, state: Tensor) -> None:
        """Draw up to where the state was; a stream that is further on already goes on."""
        for _ in range(self._draws, int(state)):
            self.deal()


def owned_logit(logits: Tensor, owner: Tensor) -> Tensor:
    """Pick each label's owner: logits (b, k, l), owner (l,) -> (b, l)."""
    index = owner.expand(len(logits), 1, -1)
    return logits.gather(1, index).squeeze(1)


def mean_logit(logits: Tensor) -> Tensor:
    """Logit of the mean probability: logit(mean_m sigmoid(z_m)), (b, k, l) -> (b, l).

    log(P / (1 - P)) = logsumexp_m log sigmoid(z_m) - logsumexp_m log sigmoid(-z_m): the 1 / k
    cancels, and no probability is ever formed, so that it holds where sigmoid is 0 or 1 in
    floating point.
    """
    return logsigmoid(logits).logsumexp(1) - logsigmoid(-logits).logsumexp(1)


def _check_fit(dims: Mapping[str, int], n_labels: int, partition: Partition) -> None:
    if tuple(dims) != partition.modalities:
        raise FusionError(
            f"the partition deals labels to {quoted(partition.modalities)}, "
            f"the model has {quoted(dims)}: same modalities in the same order"
        )
    if partition.n_labels != n_labels:
        raise FusionError(
            f"the partition deals {partition.n_labels} labels, the model has {n_labels}"
        )
