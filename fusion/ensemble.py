"""Late fusion of independently trained models: the mean of their probabilities. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.base import FusionError


def average_scores(scores: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.floating[Any]]:
    """Average the probabilities of independently trained models (the arm `independent_mean`).

    Parameters
    ----------
    scores : sequence of ndarray of float, each (n, l)
        Probabilities of every model for the same molecules and labels.

    Returns
    -------
    ndarray of float, (n, l)

    Raises
    ------
    FusionError
        There are no scores, their shapes differ, or a value is not a probability (a logit, NaN).
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
