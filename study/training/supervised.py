"""Supervised training: its loss, early stopping on the inner validation part, and prediction.

Labels of test molecules cannot be reached from here: only labels of the training fold are passed.
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
"""Function from rows of the data set to a batch of one modality (tensor or mapping of tensors)."""

PREDICT_BATCH = 512


@dataclass(frozen=True)
class LabeledRows:
    """Rows of the training fold, (r,), with their labels (r, l)."""

    rows: Rows
    labels: NDArray[np.uint8]


def fit(
    model: nn.Module,
    gather: Mapping[str, Gather],
    training: LabeledRows,
    validation: LabeledRows,
    config: TrainingConfig,
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
        Builds the batches.
    training, validation : LabeledRows
        Disjoint parts of the training fold.
    config : TrainingConfig
        Epochs, learning rates, patience, monitored value.
    seed : int
        Seed of the batch order and the dropout masks.
    ranks : ProcessGroup, optional
        Process group of the training. Default: this process alone, on the CPU.
    checkpoints : CheckpointStore, optional
        Written after each epoch; training resumes from the stored state.

    Raises
    ------
    TrialError
        The loss is not finite; the message says in which epoch.
    """
    module = SupervisedModule(model, gather, training, validation, config)
    return train(module, to_trainer_config(config), seed=seed, ranks=ranks, checkpoints=checkpoints)


def to_trainer_config(config: TrainingConfig) -> TrainerConfig:
    """Return the settings of the training loop that a training config holds."""
    return TrainerConfig(
        epochs=config.epochs,
        patience=config.patience,
        epoch_steps=config.epoch_steps,
        precision=config.precision,
        average=config.average,
    )


@dataclass(frozen=True, eq=False)
class SupervisedModule:
    """A `TrainingModule` with labels; a row is a position in the training part."""

    module: nn.Module
    gather: Mapping[str, Gather]
    training: LabeledRows
    validation: LabeledRows
    config: TrainingConfig

    @cached_property
    def _device(self) -> torch.device:
        """Device of the module at its first loss; it does not change afterwards."""
        return model_device(self.module)

    @cached_property
    def _targets(self) -> torch.Tensor:
        """Labels of the training part as floats, (r, l)."""
        return torch.from_numpy(self.training.labels).float()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups: encoder and head with their own learning rate and decay."""
        config, named = self.config, list(self.module.named_parameters())
        head = [weight for name, weight in named if not name.startswith("encoders.")]
        encoder = [weight for name, weight in named if name.startswith("encoders.")]
        rates = [
            (head, config.learning_rate, config.weight_decay),
            (encoder, config.encoder_learning_rate, config.encoder_weight_decay),
        ]
        return [{"params": p, "lr": lr, "weight_decay": decay} for p, lr, decay in rates if p]

    def batches(self, generator: torch.Generator) -> Iterator[Rows]:
        """Yield shuffled batches of the training part."""
        return shuffle_batches(len(self.training.rows), self.config.batch_size, generator)

    def loss(
        self,
        module: nn.Module,
        rows: Rows,
        rng: np.random.Generator,  # noqa: ARG002 (no random views or masks here)
    ) -> tuple[torch.Tensor, float]:
        """Return the mean cross-entropy per molecule and label, and the number of molecules."""
        targets = self._targets.index_select(0, torch.from_numpy(rows)).to(self._device)
        batch = gather_batch(self.gather, self.training.rows[rows], self._device)
        logits: torch.Tensor = module(batch)
        return binary_cross_entropy_with_logits(logits.float(), targets), len(rows)

    def validate(self, module: nn.Module) -> float:
        """Return the monitored value of the validation part; larger is better."""
        scores = predict(module, self.gather, self.validation.rows)
        return MONITORS[self.config.monitor](self.validation.labels, scores)

    def frozen_modules(self, epoch: int) -> Collection[nn.Module]:
        """Return the modules of all encoders that the config freezes in this epoch."""
        encoders = getattr(self.module, "encoders", nn.ModuleDict()).values()
        trained = [encoder for encoder in encoders if any(True for _ in encoder.parameters())]
        config = self.config
        return frozen_modules(
            trained, epoch, freeze_epochs=config.freeze_epochs, top_layers=config.top_layers
        )


def shuffle_batches(n: int, size: int, generator: torch.Generator) -> Iterator[Rows]:
    """Yield shuffled batches of the rows 0 to n - 1.

    A last batch of one row is merged into the one before: batch norm needs two.
    """
    order = torch.randperm(n, generator=generator).numpy()
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        yield order[start:end]


def gather_batch(gather: Mapping[str, Gather], rows: Rows, device: torch.device) -> dict[str, Any]:
    """Build the batch of every modality on a device."""
    return {name: move_batch(function(rows), device) for name, function in gather.items()}


def move_batch(batch: Any, device: torch.device) -> Any:  # noqa: ANN401 (a tensor or a mapping of them)
    """Return a batch (a tensor, or a mapping of names to batches) on a device."""
    if isinstance(batch, Mapping):
        return {name: move_batch(value, device) for name, value in batch.items()}
    return batch.to(device)


def model_device(module: nn.Module) -> torch.device:
    """Return the device of a module's weights; the CPU if it has none."""
    weights = next(module.parameters(), None)
    return torch.device("cpu") if weights is None else weights.device


def _mean_auroc(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Return the macro AUROC over the labels with positives and negatives.

    A small validation part may have no positives of a rare label. Returns 0.5, the AUROC of
    chance, if no label has both.
    """
    ranked = labels.any(axis=0) & ~labels.all(axis=0)
    return macro_mean(auroc(labels, scores), ranked).value if ranked.any() else 0.5


def _log_likelihood(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Return the mean log-likelihood per molecule and label."""
    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    return float(np.where(labels == 1, np.log(clipped), np.log1p(-clipped)).mean())


MONITORS: Mapping[str, Callable[[NDArray[np.uint8], NDArray[np.float32]], float]] = {
    "auroc": _mean_auroc,
    "loss": _log_likelihood,
}
"""Monitored values, functions of labels and scores (r, l), by the value of ``training.monitor``."""


def predict(model: nn.Module, gather: Mapping[str, Gather], rows: Rows) -> NDArray[np.float32]:
    """Return the probability of every label, (r, l); leaves the model in evaluation mode."""
    model.eval()
    device, parts = model_device(model), []
    with torch.inference_mode():
        for start in range(0, len(rows), PREDICT_BATCH):
            logits = model(gather_batch(gather, rows[start : start + PREDICT_BATCH], device))
            parts.append(torch.sigmoid(logits).cpu().numpy())
    scores = np.concatenate(parts)
    if not np.isfinite(scores).all():
        raise TrialError("the model returned a score that is not finite")
    return scores
