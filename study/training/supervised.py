"""Fits with labels: what the loop trains, early stopping on the inner validation part, one loss.

Nothing here can reach a test molecule's labels: the loop is given training labels only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from study.config.training import TrainingConfig
from study.errors import TrialError
from study.metrics import auroc, macro_mean
from study.training.checkpoints import CheckpointStore
from study.training.distributed import ProcessGroup
from study.training.freezing import frozen_modules
from study.training.trainer import Rows, TrainerConfig, TrainingHistory, train

Gather = Callable[[Rows], Any]
"""Rows of the data set -> batch of one modality (tensor or mapping of tensors)."""

PREDICT_BATCH = 512


@dataclass(frozen=True)
class LabeledRows:
    """Rows of the training fold with their labels (r, l); nothing else is visible here."""

    rows: Rows
    labels: NDArray[np.uint8]


def fit(
    model: nn.Module,
    gather: Mapping[str, Gather],
    training: LabeledRows,
    validation: LabeledRows,
    numbers: TrainingConfig,
    *,
    seed: int,
    ranks: ProcessGroup | None = None,
    checkpoints: CheckpointStore | None = None,
) -> TrainingHistory:
    """Train a model in place and leave it with the weights of its best epoch.

    Parameters
    ----------
    model : Module
        Batches ``{modality: batch}`` -> logits (b, l); moved to the device of `ranks`.
    gather : mapping of modality to function
        Makes the batches.
    training, validation : LabeledRows
        Disjoint parts of the training fold.
    numbers : TrainingConfig
        Epochs, learning rates, patience, monitored value.
    seed : int
        Order of the batches and dropout masks.
    ranks : ProcessGroup, optional
        Place of this process among the replicas; without it the only one, on the CPU.
    checkpoints : CheckpointStore, optional
        Kept after each epoch and gone on from.

    Raises
    ------
    TrialError
        The loss is not finite; the message says in which epoch.
    """
    course = SupervisedModule(model, gather, training, validation, numbers)
    return train(
        course, to_trainer_config(numbers), seed=seed, ranks=ranks, checkpoints=checkpoints
    )


def to_trainer_config(numbers: TrainingConfig) -> TrainerConfig:
    """Return the numbers of the loop."""
    return TrainerConfig(
        epochs=numbers.epochs,
        patience=numbers.patience,
        epoch_steps=numbers.epoch_steps,
        precision=numbers.precision,
        average=numbers.average,
    )


@dataclass(frozen=True, eq=False)
class SupervisedModule:
    """The course of a fit: a row is a position in the training part."""

    module: nn.Module
    gather: Mapping[str, Gather]
    training: LabeledRows
    validation: LabeledRows
    numbers: TrainingConfig

    @cached_property
    def _device(self) -> torch.device:
        """Where the module was when the first loss was asked for: it stays there."""
        return model_device(self.module)

    @cached_property
    def _targets(self) -> torch.Tensor:
        """Labels of the training part as the loss takes them, (r, l)."""
        return torch.from_numpy(self.training.labels).float()

    def groups(self) -> list[dict[str, Any]]:
        """Give encoder weights and head weights their own learning rate and decay."""
        numbers, named = self.numbers, list(self.module.named_parameters())
        head = [values for name, values in named if not name.startswith("encoders.")]
        encoder = [values for name, values in named if name.startswith("encoders.")]
        rates = [
            (head, numbers.learning_rate, numbers.weight_decay),
            (encoder, numbers.encoder_learning_rate, numbers.encoder_weight_decay),
        ]
        return [{"params": p, "lr": lr, "weight_decay": decay} for p, lr, decay in rates if p]

    def batches(self, generator: torch.Generator) -> Iterator[Rows]:
        """Shuffle the training part into batches."""
        return _batches(len(self.training.rows), self.numbers.batch_size, generator)

    def loss(
        self,
        module: nn.Module,
        rows: Rows,
        rng: np.random.Generator,  # noqa: ARG002 (nothing is drawn here)
    ) -> tuple[torch.Tensor, float]:
        """Mean cross-entropy a molecule and label."""
        targets = self._targets.index_select(0, torch.from_numpy(rows)).to(self._device)
        batch = gather_batch(self.gather, self.training.rows[rows], self._device)
        logits: torch.Tensor = module(batch)
        return binary_cross_entropy_with_logits(logits.float(), targets), len(rows)

    def measure(self, module: nn.Module) -> float:
        """Return the monitored value of the validation part; larger is better."""
        scores = predict(module, self.gather, self.validation.rows)
        return MONITORS[self.numbers.monitor](self.validation.labels, scores)

    def held(self, epoch: int) -> Collection[nn.Module]:
        """Hold what the freeze schedule says, of every encoder."""
        encoders = getattr(self.module, "encoders", nn.ModuleDict()).values()
        trained = [encoder for encoder in encoders if any(True for _ in encoder.parameters())]
        numbers = self.numbers
        return frozen_modules(
            trained, epoch, freeze_epochs=numbers.freeze_epochs, top_layers=numbers.top_layers
        )


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[Rows]:
    """Shuffled batches; a last batch of one molecule joins its neighbour (batch norm)."""
    order = torch.randperm(n, generator=generator).numpy()
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        yield order[start:end]


def gather_batch(gather: Mapping[str, Gather], rows: Rows, device: torch.device) -> dict[str, Any]:
    """Make the batch of every modality and move it to a device."""
    return {name: move_batch(take(rows), device) for name, take in gather.items()}


def move_batch(batch: Any, device: torch.device) -> Any:  # noqa: ANN401 (a tensor or a mapping of them)
    """Return a batch (a tensor, or a mapping of names to batches) on a device."""
    if isinstance(batch, Mapping):
        return {name: move_batch(value, device) for name, value in batch.items()}
    return batch.to(device)


def model_device(module: nn.Module) -> torch.device:
    """Return where the weights of a module are; the CPU if it has none."""
    weights = next(module.parameters(), None)
    return torch.device("cpu") if weights is None else weights.device


def _mean_auroc(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Return the macro AUROC of the labels that the molecules can rank.

    A small validation part has no positives of a rare label. One half, which says nothing, where
    that is so of every label.
    """
    ranked = labels.any(axis=0) & ~labels.all(axis=0)
    return macro_mean(auroc(labels, scores), ranked).value if ranked.any() else 0.5


def _log_likelihood(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Return the mean log-likelihood a molecule and label."""
    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    return float(np.where(labels == 1, np.log(clipped), np.log1p(-clipped)).mean())


MONITORS: Mapping[str, Callable[[NDArray[np.uint8], NDArray[np.float32]], float]] = {
    "auroc": _mean_auroc,
    "loss": _log_likelihood,
}
"""Functions of labels and scores (r, l) by the value of ``training.monitor``."""


def predict(model: nn.Module, gather: Mapping[str, Gather], rows: Rows) -> NDArray[np.float32]:
    """Probabilities of every label, (r, l); the model is left in evaluation mode."""
    model.eval()
    device, parts = model_device(model), []
    with torch.inference_mode():
        for start in range(0, len(rows), PREDICT_BATCH):
            logits = model(gather_batch(gather, rows[start : start + PREDICT_BATCH], device))
            parts.append(torch.sigmoid(logits).cpu().numpy())
    scores = np.concatenate(parts)
    if not np.isfinite(scores).all():
        raise TrialError("the model gave a score that is not finite")
    return scores
