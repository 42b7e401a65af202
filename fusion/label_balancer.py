"""The label balancer: in each training step, every branch is trained on the labels it owns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from fusion.base import FusionError, HeadShape, quote_names
from fusion.layers import Branches
from fusion.partitions._base import Partition


class LabelBalancer(nn.Module):
    r"""Head with one branch per modality, in which only its owner is trained on a label.

    With z_m = MLP_m(e_m) (b, l) and owner o_j of label j,

    - training: logits_j = z_(o_j),j. Binary cross-entropy on these logits is the objective of the
      published study, the mean over all molecules and labels of sum_m [o_j = m] BCE(z_mj, y_j),
      so the training loop needs no special loss;
    - inference "mean": logits = logit(mean_m sigmoid(z_m)), as published;
    - inference "owner": as in training.

    One detail of the released code is not reproduced: one of its branches applies a ReLU before
    the sigmoid, so that its probabilities never fall below 1/2.

    Parameters
    ----------
    dims : mapping of str to int
        Width of the embedding of each of k >= 2 modalities, in the order of the partition.
    n_labels : int
        Number of labels l.
    head : HeadShape
        Hidden layers and dropout of each branch.
    partition : Partition
        The owners, drawn at every training step if ``partition.per_batch``. Fixed owners are a
        buffer of this module and part of its state dict.
    inference : {"mean", "owner"}, optional
        Default: "owner" for a fixed partition, because a branch was never trained on the labels
        of the others, and "mean" for a partition that is drawn per batch.

    Raises
    ------
    FusionError
        The partition is of other modalities or labels, or inference is "owner" although the
        owners change at every step.
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
        _check_partition(dims, n_labels, partition)
        self.branches = Branches(dims, n_labels, head, "logit")
        self.partition = partition
        self._draws = 0
        self.register_buffer("owner", None if partition.per_batch else partition.draw())
        self.inference = inference or ("mean" if partition.per_batch else "owner")
        if self.inference not in ("mean", "owner"):
            raise FusionError(f"inference '{inference}' is unknown; allowed: 'mean', 'owner'")
        if self.inference == "owner" and self.owner is None:
            raise FusionError(
                "a partition drawn per batch has no owners at inference: inference must be 'mean'"
            )

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Map ``{modality: (b, d_m)}`` to logits (b, l)."""
        logits: Tensor = self.branches(embeddings)  # (b, k, l)
        if self.inference == "mean" and not self.training:
            return compute_mean_logit(logits)
        owner = self.draw_owners() if self.owner is None else self.owner
        return select_owner_logits(logits, owner.to(logits.device))

    def draw_owners(self) -> Tensor:
        """Draw the owners of the next training step, (l,)."""
        self._draws += 1
        return self.partition.draw()

    def get_extra_state(self) -> Tensor:
        """Return the number of draws, so that a resumed training continues with the next draw."""
        return torch.tensor(self._draws)

    def set_extra_state(self, state: Tensor) -> None:
        """Draw until the number of draws is that of the state.

        A partition that has drawn more already is left as it is.
        """
        for _ in range(self._draws, int(state)):
            self.draw_owners()


def select_owner_logits(logits: Tensor, owner: Tensor) -> Tensor:
    """Select the logits of each label's owner: logits (b, k, l), owner (l,) -> (b, l)."""
    index = owner.expand(len(logits), 1, -1)
    return logits.gather(1, index).squeeze(1)


def compute_mean_logit(logits: Tensor) -> Tensor:
    """Compute the logit of the mean probability, logit(mean_m sigmoid(z_m)): (b, k, l) -> (b, l).

    log(P / (1 - P)) = logsumexp_m log sigmoid(z_m) - logsumexp_m log sigmoid(-z_m), as the 1 / k
    cancels. No probability is formed, so the result is exact where sigmoid rounds to 0 or 1.
    """
    return logsigmoid(logits).logsumexp(1) - logsigmoid(-logits).logsumexp(1)


def _check_partition(dims: Mapping[str, int], n_labels: int, partition: Partition) -> None:
    if tuple(dims) != partition.modalities:
        raise FusionError(
            f"the partition assigns labels to {quote_names(partition.modalities)}, "
            f"the model has {quote_names(dims)}: both need the same modalities in the same order"
        )
    if partition.n_labels != n_labels:
        raise FusionError(
            f"the partition assigns {partition.n_labels} labels, the model has {n_labels}"
        )
