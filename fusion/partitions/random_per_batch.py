"""Fresh random owners at every training step, as published."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fusion.partitions._base import PartitionContext

if TYPE_CHECKING:
    from torch import Tensor


class RandomPerBatch:
    """Every step deals every label anew: owner_j ~ uniform over the k modalities.

    With two modalities this is the fair-coin mask of the released code of the published study.
    Over a training every branch sees every label in 1 / k of the steps. A step may by chance
    leave a modality without a label.
    """

    needs_inner_scores: ClassVar[bool] = False
    per_batch: ClassVar[bool] = True

    def build(self, context: PartitionContext) -> RandomOwners:
        """Make the stream of owners of ``context.seed``."""
        return RandomOwners(context.modalities, context.n_labels, context.seed)


class RandomOwners:
    """A stream of random owners with a generator of its own.

    Parameters
    ----------
    modalities : tuple of str, (k,)
        The modalities that owners number.
    n_labels : int
        Number of labels l.
    seed : int
        Start of the stream; equal seeds give equal streams.
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
