"""Pretraining on masked Mordred descriptors: restore what was hidden."""

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
    from modalities.nn.objectives import RestoringModel

WORD = "masked_descriptors"


class MaskedDescriptors:
    """A share of a molecule's descriptors is hidden, and restored from its embedding.

    Hidden are scaled values, by putting 0 (the mean) in their place, so that the encoder's input
    is as in later use. The loss is taken on hidden values that are present. The scaler is the
    encoder's, fitted before.

    Parameters
    ----------
    share : float
        Of the descriptors that are hidden, each on its own.
    loss : {'squared', 'huber'}
        Of a restored value; Huber is linear beyond one standard deviation.
    """

    modalities: ClassVar[tuple[str, ...]] = ("mordred_network",)
    named: ClassVar[bool] = False

    def __init__(
        self, *, share: float = 0.3, loss: Literal["squared", "huber"] = "squared"
    ) -> None:
        require_option(WORD, "share", share, "between 0 and 1", 0 < share < 1)
        require_option(WORD, "loss", loss, "squared or huber", loss in ("squared", "huber"))
        self.share = share
        self.loss: Literal["squared", "huber"] = loss

    @property
    def version(self) -> str:
        """Identity of the task."""
        return featurizer_version(WORD, 1, **vars(self))

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> ModalityFeatures:
        """Return the descriptors of the molecules (37 ms each where they are not stored)."""
        records = [modality.featurize(text) for text in molecules.smiles]
        return ModalityFeatures.stack(modality.version, molecules.smiles, records)

    def model(self, encoder: nn.Module, *, seed: int) -> RestoringModel:
        """Return the encoder with a linear decoder."""
        from modalities.nn.objectives import RestoringModel
        from modalities.nn.random import seeded

        with seeded(seed):
            return RestoringModel(encoder, loss=self.loss)

    def collate(
        self, examples: ModalityFeatures, rows: NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Gather ``values`` (b, m), NaN where missing, and draw what is ``hidden`` (b, m)."""
        import torch

        values = examples.matrix("values")[rows]
        hidden = rng.random(values.shape, dtype=np.float32) < self.share
        return {"values": torch.from_numpy(values), "hidden": torch.from_numpy(hidden)}
