"""New random owners at every training step, as published."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fusion.partitions._base import PartitionContext

if TYPE_CHECKING:
    from torch import Tensor


class RandomPerBatch:
    """New owners at every training step: owner_j ~ uniform over the k modalities.

    With two modalities this is the fair-coin mask in the released code of the published study.
    On average, every branch is trained on every label in 1 / k of the steps. In some steps a
    modality may own no label.
    """

    needs_inner_scores: ClassVar[bool] = False
    per_batch: ClassVar[bool] = True

    def build(self, context: PartitionContext) -> RandomOwners:
        """Build the stream of owners of ``context.seed``."""
        return RandomOwners(context.modalities, context.n_labels, context.seed)


class RandomOwners:
    """Stream of random owners from a private generator.

    Parameters
    ----------
    modalities : tuple of str, (k,)
        An owner is an index into this tuple.
    n_labels : int
        Number of labels l.
    seed : int
        Seed of the generator: equal seeds give equal streams.
    """

    per_batch: ClassVar[bool] = True

    def __init__(self, modalities: tuple[str, ...], n_labels: int, seed: int) -> None:
        import torch

        self.modalities = modalities
        self.n_labels = n_labels
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self) -> Tensor:
        """Return the owners of the next step: int64 (l,)."""
        import torch

        return torch.randint(len(self.modalities), (self.n_labels,), generator=self._generator)
