"""The whole model, and the combination that needs none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fusion._base import FusionError, check_names


class MultimodalModel(nn.Module):
    r"""The equation of the project: logits = head({m: encoder_m(batch_m)}).

    Parameters
    ----------
    encoders : mapping of str to Module or None
        Encoder of each modality. None: the batch already holds the embedding (b, d_m), as with
        frozen encoders whose embeddings were computed once.
    head : Module
        A fusion operator, a `LabelBalancer` or a `SingleHead`.
    """

    def __init__(self, encoders: Mapping[str, nn.Module | None], head: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(
            {
                m: encoder if encoder is not None else nn.Identity()
                for m, encoder in encoders.items()
            }
        )
        self.head = head

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Map what each encoder takes, by modality, to logits (b, l).

        Raises
        ------
        FusionError
            The batch lacks a modality or has an unknown one.
        """
        check_names("batch", self.encoders, batch)
        logits: Tensor = self.head({m: encoder(batch[m]) for m, encoder in self.encoders.items()})
        return logits


def average_scores(scores: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.floating[Any]]:
    """Mean of the probabilities of models trained apart (the arm `independent_mean`).

    Parameters
    ----------
    scores : sequence of ndarray of float, each (n, l)
        Scores in [0, 1] of the same molecules and labels.

    Returns
    -------
    ndarray of float, (n, l)

    Raises
    ------
    FusionError
        There are no scores, their shapes differ, or a value is no probability (a logit, NaN).
    """
    shapes = {score.shape for score in scores}
    if len(shapes) != 1:
        raise FusionError(f"scores to average must have one shape (n, l), got {sorted(shapes)}")
    for position, score in enumerate(scores):
        if not np.all((score >= 0) & (score <= 1)):
            raise FusionError(
                f"scores {position} are not probabilities in [0, 1]: apply the sigmoid first"
            )
    mean: NDArray[np.floating[Any]] = np.mean(np.stack(scores), axis=0)
    return mean
