"""Fixed owners in round-robin order: every modality gets dense and sparse labels."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from fusion.base import FusionError
from fusion.partitions._base import LabelPartition, PartitionContext


class RoundRobin:
    """Labels assigned in turn: the i-th label of the sequence belongs to modality i mod k.

    In density order (the default) every modality gets the same mix of dense and sparse labels.
    This is the control of `density`, in which a modality owns as many labels, but of one density.

    Parameters
    ----------
    order : {"density", "column"}
        Sequence of the labels: by positives in the training rows, most first (ties in column
        order), or the order of the columns.

    Raises
    ------
    FusionError
        `order` is unknown.
    """

    needs_inner_scores: ClassVar[bool] = False
    per_batch: ClassVar[bool] = False

    def __init__(self, *, order: Literal["density", "column"] = "density") -> None:
        if order not in ("density", "column"):
            raise FusionError(f"order '{order}' is unknown; allowed: 'density', 'column'")
        self.order = order

    def build(self, context: PartitionContext) -> LabelPartition:
        """Assign the labels in turn."""
        turn = np.arange(context.n_labels, dtype=np.int64) % context.k
        owner = turn.copy()
        if self.order == "density":
            owner[context.sort_labels_by_density()] = turn
        return LabelPartition(context.modalities, owner)
