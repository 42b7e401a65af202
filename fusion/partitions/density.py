"""Fixed owners by label density: one modality owns the dense labels, another the sparse ones."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from fusion.base import FusionError
from fusion.partitions._base import LabelPartition, PartitionContext


class Density:
    """Labels in order of density, cut into k blocks, one for each modality.

    Rule: sort the labels by their positives in the training rows, most first (ties in column
    order); cut the sequence into k contiguous blocks whose sizes differ by at most one (the
    longer ones first); block j belongs to modality j.

    Parameters
    ----------
    densest : {"first", "last"}
        Whether the first or the last modality gets the block of the densest labels.

    Raises
    ------
    FusionError
        `densest` is unknown.
    """

    needs_inner_scores: ClassVar[bool] = False
    per_batch: ClassVar[bool] = False

    def __init__(self, *, densest: Literal["first", "last"] = "first") -> None:
        if densest not in ("first", "last"):
            raise FusionError(f"densest '{densest}' is unknown; allowed: 'first', 'last'")
        self.densest = densest

    def build(self, context: PartitionContext) -> LabelPartition:
        """Assign the labels by their density in the training rows."""
        owner = np.empty(context.n_labels, dtype=np.int64)
        for block, labels in enumerate(np.array_split(context.sort_labels_by_density(), context.k)):
            owner[labels] = block if self.densest == "first" else context.k - 1 - block
        return LabelPartition(context.modalities, owner)
