"""The training loop: AdamW, early stopping on the inner validation part, one loss.

Nothing here can reach a test molecule's labels: the loop is given training labels only.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fusion import seeded
from study.choices import Training
from study.errors import TrialError
from study.metrics import auroc

Rows = NDArray[np.int64]
Gather = Callable[[Rows], Any]
"""Rows of the data set -> batch of one modality (tensor or mapping of tensors)."""

PREDICT_BATCH = 512


@dataclass(frozen=True)
class Part:
    """Rows of the training fold with their labels (r, l); nothing else is visible here."""

    rows: Rows
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class History:
    """What happened: per-epoch training loss and monitored value, and the epoch kept."""

    loss: tuple[float, ...]
    monitored: tuple[float, ...]
    best_epoch: int


def fit(
    model: nn.Module,
    gather: Mapping[str, Gather],
    training: Part,
    validation: Part,
    numbers: Training,
    *,
    seed: int,
) -> History:
    """Train a model in place and leave it with the weights of its best epoch.

    Parameters
    ----------
    model : Module
        Batches ``{modality: batch}`` -> logits (b, l).
    gather : mapping of modality to function
        Makes the batches.
    training, validation : Part
        Disjoint parts of the training fold.
    numbers : Training
        Epochs, learning rates, patience, monitored value.
    seed : int
        Order of the batches and dropout masks.

    Raises
    ------
    TrialError
        The loss is not finite; the message says in which epoch.
    """
    with seeded(seed):
        return _fit(model, gather, training, validation, numbers)


def _fit(
    model: nn.Module,
    gather: Mapping[str, Gather],
    training: Part,
    validation: Part,
    numbers: Training,
) -> History:
    step = _Step(model, numbers)
    losses: list[float] = []
    monitored: list[float] = []
    best, kept = -math.inf, copy.deepcopy(model.state_dict())
    for epoch in range(1, numbers.epochs + 1):
        losses.append(_epoch(model, gather, training, step, numbers.batch_size, epoch))
        monitored.append(_monitor(step.kept, gather, validation, numbers.monitor))
        if monitored[-1] > best:
            best, kept = monitored[-1], copy.deepcopy(step.kept.state_dict())
        if epoch - (1 + monitored.index(max(monitored))) >= numbers.patience:
            break
    model.load_state_dict(kept)
    return History(tuple(losses), tuple(monitored), 1 + monitored.index(max(monitored)))


class _Step:
    """One step of AdamW, and the moving average of the weights where one is asked for.

    The average (Polyak & Juditsky 1992, in its exponential form) is what is validated and kept:
    it takes the noise of the last batches out of a small, skewed table.
    """

    def __init__(self, model: nn.Module, numbers: Training) -> None:
        self._model = model
        self._optimizer = torch.optim.AdamW(
            _groups(model, numbers), weight_decay=numbers.weight_decay
        )
        self._average: AveragedModel | None = None
        if numbers.average:
            decay = get_ema_multi_avg_fn(numbers.average)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self._average = AveragedModel(model, multi_avg_fn=decay)

    @property
    def kept(self) -> nn.Module:
        """The model with the weights that count."""
        return self._model if self._average is None else self._average.module

    def __call__(self, loss: torch.Tensor) -> None:
        """Change the weights by the gradient of this loss."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._optimizer.step()
        if self._average is not None:
            self._average.update_parameters(self._model)


def _groups(model: nn.Module, numbers: Training) -> list[dict[str, Any]]:
    """Give encoder weights and head weights their own learning rates."""
    encoder = [p for name, p in model.named_parameters() if name.startswith("encoders.")]
    head = [p for name, p in model.named_parameters() if not name.startswith("encoders.")]
    groups = [{"params": head, "lr": numbers.learning_rate}]
    if encoder:
        groups.append({"params": encoder, "lr": numbers.encoder_learning_rate})
    return groups


def _epoch(
    model: nn.Module,
    gather: Mapping[str, Gather],
    part: Part,
    step: _Step,
    batch_size: int,
    epoch: int,
) -> float:
    """Pass once over the training part; return the mean loss a molecule and label."""
    model.train()
    total = 0.0
    for batch in _batches(len(part.rows), batch_size):
        targets = torch.from_numpy(part.labels[batch]).float()
        logits = model({name: take(part.rows[batch]) for name, take in gather.items()})
        loss = binary_cross_entropy_with_logits(logits, targets)
        if not math.isfinite(loss.item()):
            raise TrialError(
                f"the training loss became {loss.item()} in epoch {epoch}; "
                "lower 'training.learning_rate' or look at the features"
            )
        step(loss)
        total += loss.item() * len(batch)
    return total / len(part.rows)


def _batches(n: int, size: int) -> Iterator[Rows]:
    """Shuffled batches; a last batch of one molecule joins its neighbour (batch norm)."""
    order = torch.randperm(n).numpy()
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        yield order[start:end]


def _monitor(model: nn.Module, gather: Mapping[str, Gather], part: Part, what: str) -> float:
    """Return the monitored value of the validation part; larger is better."""
    scores = predict(model, gather, part.rows)
    if what == "loss":
        clipped = np.clip(scores, 1e-7, 1 - 1e-7)
        terms = np.where(part.labels == 1, np.log(clipped), np.log1p(-clipped))
        return float(terms.mean())
    values = auroc(part.labels, scores)
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.5


def predict(model: nn.Module, gather: Mapping[str, Gather], rows: Rows) -> NDArray[np.float32]:
    """Probabilities of every label, (r, l); the model is left in evaluation mode."""
    model.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), PREDICT_BATCH):
            some = rows[start : start + PREDICT_BATCH]
            logits = model({name: take(some) for name, take in gather.items()})
            parts.append(torch.sigmoid(logits).numpy())
    scores = np.concatenate(parts)
    if not np.isfinite(scores).all():
        raise TrialError("the model gave a score that is not finite")
    return scores
