"""Pretraining on masked Mordred descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityFeatures
from modalities.featurizers.molecule import featurizer_version
from modalities.pretraining._base import MoleculeBatch, require_option

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modalities._base import Modality
    from modalities.nn.objectives import MaskedDescriptorModel

NAME = "masked_descriptors"


class MaskedDescriptors:
    """Prediction of hidden descriptors of a molecule from its embedding.

    Values are hidden after scaling, by setting them to 0 (the mean), so that the input of the
    encoder has the same form as in later use. The loss is computed on the hidden values that are
    present. The scaler is that of the encoder and is fitted before.

    Parameters
    ----------
    share : float
        Probability with which each descriptor is hidden.
    loss : {'squared', 'huber'}
        Loss of a predicted value; the Huber loss is linear beyond one standard deviation.
    """

    modalities: ClassVar[tuple[str, ...]] = ("mordred_network",)
    named: ClassVar[bool] = False

    def __init__(
        self, *, share: float = 0.3, loss: Literal["squared", "huber"] = "squared"
    ) -> None:
        require_option(NAME, "share", share, "between 0 and 1", 0 < share < 1)
        require_option(NAME, "loss", loss, "squared or huber", loss in ("squared", "huber"))
        self.share = share
        self.loss: Literal["squared", "huber"] = loss

    @property
    def version(self) -> str:
        """Identity of the task: its revision and options."""
        return featurizer_version(NAME, 1, **vars(self))

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> ModalityFeatures:
        """Compute the descriptors of the molecules (37 ms each if they are not stored)."""
        records = [modality.featurize(smiles) for smiles in molecules.smiles]
        return ModalityFeatures.stack(modality.version, molecules.smiles, records)

    def model(self, encoder: nn.Module, *, seed: int) -> MaskedDescriptorModel:
        """Build the encoder with a linear decoder."""
        from modalities.nn.objectives import MaskedDescriptorModel
        from modalities.nn.random import seeded

        with seeded(seed):
            return MaskedDescriptorModel(encoder, loss=self.loss)

    def collate(
        self, examples: ModalityFeatures, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Gather ``values`` (b, m), NaN where missing, and draw the ``hidden`` ones (b, m)."""
        import torch

        values = examples.matrix("values")[rows]
        hidden = rng.random(values.shape, dtype=np.float32) < self.share
        return {"values": torch.from_numpy(values), "hidden": torch.from_numpy(hidden)}
