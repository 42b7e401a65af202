"""AUROC of many members at once, on the device where their scores are."""

from __future__ import annotations

import torch
from torch import Tensor


def stacked_auroc(labels: Tensor, scores: Tensor) -> Tensor:
    """Area under the ROC curve by mid-ranks, as `study.metrics.auroc` gives it.

    Parameters
    ----------
    labels : Tensor of 0/1, (m, n, l)
    scores : Tensor of float, (m, n, l)
        Finite.

    Returns
    -------
    Tensor of float64, (m, l)
        NaN where a label has no positives or no negatives.
    """
    values, order = scores.transpose(1, 2).sort(dim=-1)  # (m, l, n)
    truth = labels.transpose(1, 2).gather(-1, order).double()
    n = truth.shape[-1]
    place = torch.arange(n, device=scores.device).expand(values.shape)
    rises = values[..., 1:] != values[..., :-1]
    edge = torch.ones_like(rises[..., :1])
    first = place.where(torch.cat([edge, rises], -1), 0).cummax(-1).values
    last = place.where(torch.cat([rises, edge], -1), n).flip(-1).cummin(-1).values.flip(-1)
    positives = truth.sum(-1)
    ranks = (first + last).double() / 2 + 1  # the mean of those that tie; ranks count from 1
    wins = (ranks * truth).sum(-1) - positives * (positives + 1) / 2
    return wins / (positives * (n - positives))  # 0 / 0 is NaN
