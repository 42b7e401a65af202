"""The contracts of a label partition: the context it is built from, and its owners.

Shapes: n_train training molecules, l labels, k modalities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fusion.base import FusionError, quote_names

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class PartitionContext:
    """Everything a partition may depend on: training rows only, never a test row.

    Attributes
    ----------
    modalities : tuple of str, (k,)
        At least two. An owner is an index into this tuple.
    labels : ndarray of uint8, (n_train, l)
        Labels of the training rows.
    rows : ndarray of int, (n_train,)
        Numbers of the training rows in the table.
    seed : int
        Seed of partitions that are drawn at random.
    inner_auroc : ndarray of float, (k, l), optional
        AUROC of each modality alone on each label, from out-of-fold scores of folds inside the
        training rows; NaN where undefined.
    inner_rows : ndarray of int, optional
        Rows on which `inner_auroc` was measured: training rows only.

    Raises
    ------
    FusionError
        A value breaks one of these rules.
    """

    modalities: tuple[str, ...]
    labels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    seed: int
    inner_auroc: NDArray[np.float64] | None = None
    inner_rows: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if len(self.modalities) < 2 or len(set(self.modalities)) < len(self.modalities):
            raise FusionError(
                "a partition assigns labels to two or more different modalities, "
                f"got {quote_names(self.modalities)}"
            )
        if self.labels.ndim != 2 or self.labels.dtype != np.uint8 or np.any(self.labels > 1):
            raise FusionError(
                "a partition takes labels of 0 and 1, uint8 (n_train, l), "
                f"got {self.labels.dtype} {self.labels.shape}"
            )
        if self.rows.shape != (len(self.labels),) or len(np.unique(self.rows)) < len(self.rows):
            raise FusionError(
                f"rows must number the {len(self.labels)} training molecules, each once, "
                f"got shape {self.rows.shape}"
            )
        if self.inner_auroc is not None:
            self._check_scores(self.inner_auroc)
        if self.inner_rows is not None:
            foreign = np.setdiff1d(self.inner_rows, self.rows)
            _reject_rows(foreign, "inner_auroc was measured on")

    def check_no_test_rows(self, test: NDArray[np.int64]) -> PartitionContext:
        """Return this context after checking that it has no row of the test fold.

        Choosing owners by test scores is an unfair advantage: giving each label to the model that
        does best on the test fold gains up to 0.013 AUROC on rare labels, even between two models
        that differ in their seed only.

        Raises
        ------
        FusionError
            A test row is among the training rows.
        """
        _reject_rows(np.intersect1d(self.rows, test), "the training rows hold")
        return self

    def _check_scores(self, scores: NDArray[np.float64]) -> None:
        if scores.shape != (self.k, self.n_labels):
            raise FusionError(
                f"inner_auroc must be (k, l) = ({self.k}, {self.n_labels}), got {scores.shape}"
            )
        if np.any((scores < 0) | (scores > 1)):  # NaN compares false: undefined is allowed
            raise FusionError("inner_auroc must be in [0, 1] or NaN where undefined")

    @property
    def k(self) -> int:
        """Number of modalities."""
        return len(self.modalities)

    @property
    def n_labels(self) -> int:
        """Number of labels l."""
        return int(self.labels.shape[1])

    @property
    def positives(self) -> NDArray[np.int64]:
        """Number of training positives of each label, (l,)."""
        counts: NDArray[np.int64] = self.labels.sum(axis=0, dtype=np.int64)
        return counts

    def sort_labels_by_density(self) -> NDArray[np.intp]:
        """Return the labels by training positives, most first; ties in column order: (l,)."""
        return np.argsort(-self.positives, kind="stable")


def _reject_rows(rows: NDArray[np.int64], how: str) -> None:
    """Raise a FusionError if there are rows that a partition must not know."""
    if len(rows):
        raise FusionError(
            f"an oracle partition is refused: {how} {len(rows)} rows that are not training rows, "
            f"the first row {rows[0]}; choose owners inside the training rows only"
        )


class Partition(Protocol):
    """Source of label owners for the label balancer."""

    per_batch: ClassVar[bool]
    """Whether the owners change at every draw (False: they never change)."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The k modalities; an owner is an index into them."""

    @property
    def n_labels(self) -> int:
        """Number of labels l."""

    def draw(self) -> Tensor:
        """Return the owner of each label for one training step: int64 (l,)."""


class PartitionRule(Protocol):
    """A rule that builds a partition from training rows: the class of a file of this folder.

    Options are the keyword-only parameters of the class, with literal types and defaults.
    """

    needs_inner_scores: ClassVar[bool]
    """Whether `build` needs ``context.inner_auroc``, which costs inner fits."""
    per_batch: ClassVar[bool]
    """Whether its partitions change at every training step."""

    def build(self, context: PartitionContext) -> Partition:
        """Build the partition of these training rows.

        Raises
        ------
        FusionError
            The context lacks what the rule needs.
        """


@dataclass(frozen=True, eq=False)
class LabelPartition:
    """A fixed partition: only modality ``modalities[owner[j]]`` is trained on label j.

    Attributes
    ----------
    modalities : tuple of str, (k,)
        An owner is an index into this tuple.
    owner : ndarray of int64, (l,)
        Owner of each label. Every modality owns at least one label (unless there are fewer
        labels than modalities).

    Raises
    ------
    FusionError
        An owner is out of range, or a modality owns no label.
    """

    per_batch: ClassVar[bool] = False

    modalities: tuple[str, ...]
    owner: NDArray[np.int64]

    def __post_init__(self) -> None:
        owner, k = self.owner, len(self.modalities)
        if owner.ndim != 1 or owner.dtype != np.int64 or len(owner) == 0:
            raise FusionError(f"owner must be int64 (l,), got {owner.dtype} {owner.shape}")
        if owner.min() < 0 or owner.max() >= k:
            raise FusionError(f"owners must be in 0..{k - 1}, got {owner.min()}..{owner.max()}")
        idle = [m for j, m in enumerate(self.modalities) if j not in owner]
        if idle and len(owner) >= k:
            raise FusionError(
                f"{quote_names(idle)} would own no label and never be trained: "
                "give every modality at least one"
            )
        owner.setflags(write=False)

    @property
    def n_labels(self) -> int:
        """Number of labels l."""
        return len(self.owner)

    def draw(self) -> Tensor:
        """Return the owner of each label: int64 (l,), the same at every call."""
        import torch

        return torch.tensor(self.owner)
