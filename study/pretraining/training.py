"""The training module of a pretraining, and the task that trains it."""

from __future__ import annotations

import io
import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modalities import FeatureStore, sha256_of
from modalities.pretraining import MoleculeBatch, PretrainingObjective
from modalities.weights.model_card import ModelCard, write_model_card
from study.pretraining.config import PretrainingConfig, PretrainingSpec
from study.pretraining.workspace import (
    Epoch,
    PretrainingFolders,
    StoredModality,
    build_component,
    read_history,
)
from study.storage.storage import Storage, write_atomic
from study.training.checkpoints import CheckpointStore, StoredCheckpoints
from study.training.distributed import current_process_group, torch_settings
from study.training.trainer import Rows, TrainerConfig, train


def cosine_schedule(warmup: float, progress: float) -> float:
    """Return the factor of the learning rate: linear warm-up to 1, then half a cosine to 0.

    Loshchilov & Hutter, SGDR (ICLR 2017), equation 5, one period.

    Parameters
    ----------
    warmup : float
        Share of the training at which the factor is 1.
    progress : float
        Share of the training that is done, from 0 to 1.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


@dataclass(eq=False)
class PretrainingModule:
    """Training module of a pretraining: the model of an objective, and its molecules.

    Attributes
    ----------
    model : Module
        A `modalities.pretraining._base.PretrainingModel`.
    objective : PretrainingObjective
    examples : object
        Output of the objective's `prepare`; row i is molecule i.
    training_rows, held_out_rows : Rows
        Disjoint rows of the examples.
    config : PretrainingConfig
    measures : dict of str to float
        Held-out measures of the last epoch.
    """

    model: nn.Module
    objective: PretrainingObjective
    examples: Any
    training_rows: Rows
    held_out_rows: Rows
    config: PretrainingConfig

    def __post_init__(self) -> None:
        self.measures: dict[str, float] = {}

    @property
    def module(self) -> nn.Module:
        """The encoder with the heads of the task."""
        return self.model

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one parameter group: the whole model."""
        config = self.config
        weights = list(self.model.parameters())
        return [
            {"params": weights, "lr": config.learning_rate, "weight_decay": config.weight_decay}
        ]

    def batches(self, generator: torch.Generator) -> Iterator[Rows]:
        """Yield shuffled batches of the training rows."""
        order = torch.randperm(len(self.training_rows), generator=generator).numpy()
        yield from _split_into_batches(self.training_rows[order], self.config.batch_size)

    def loss(
        self, module: nn.Module, rows: Rows, rng: np.random.Generator
    ) -> tuple[torch.Tensor, float]:
        """Compute the loss of the task on these rows, and its weight: their number."""
        return self._compute_measures(module, rows, rng)["loss"].float(), float(len(rows))

    def validate(self, module: nn.Module) -> float:
        """Compute the held-out measures, and return minus the held-out loss.

        Views and masks are the same at every call. Batches in which a measure is undefined (NaN)
        are left out of its mean; it is NaN if it is undefined in all of them.
        """
        rng = np.random.default_rng([self.config.seed, len(self.held_out_rows)])
        sums, weights = defaultdict[str, float](float), defaultdict[str, float](float)
        module.eval()
        with torch.inference_mode():
            for rows in _split_into_batches(self.held_out_rows, self.config.batch_size):
                for name, scalar in self._compute_measures(module, rows, rng).items():
                    value = float(scalar)
                    sums[name] += 0.0 if math.isnan(value) else value * len(rows)
                    weights[name] += 0.0 if math.isnan(value) else len(rows)
        self.measures = {
            name: sums[name] / weights[name] if weights[name] else math.nan for name in sums
        }
        return -self.measures["loss"]

    def frozen_modules(self, epoch: int) -> Collection[nn.Module]:  # noqa: ARG002 (the contract)
        """Return no module: nothing is frozen in a pretraining."""
        return ()

    def _compute_measures(
        self, module: nn.Module, rows: Rows, rng: np.random.Generator
    ) -> Mapping[str, torch.Tensor]:
        device = next(self.model.parameters()).device
        batch = self.objective.collate(self.examples, rows, rng)
        measures: Mapping[str, torch.Tensor] = module(
            {name: values.to(device) for name, values in batch.items()}
        )
        return measures


def _split_into_batches(rows: Rows, size: int) -> Iterator[Rows]:
    """Split rows into batches; a last batch of one row joins the one before.

    Batch norm and the contrastive loss need at least two molecules.
    """
    starts = list(range(0, len(rows), size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:end]


class HistoryCheckpoints:
    """Checkpoint store that also writes the measures of every epoch to a history file.

    The history is written before the checkpoint, so that it never lacks a finished epoch.

    Parameters
    ----------
    store : CheckpointStore
        Store of the checkpoints.
    path : Path
        History file: a JSON list of epochs.
    module : PretrainingModule
        Provides the held-out measures of the epoch.
    """

    def __init__(self, store: CheckpointStore, path: Path, module: PretrainingModule) -> None:
        self._store, self._path, self._module = store, path, module
        self.epochs: list[Epoch] = []

    def load(self) -> Mapping[str, Any] | None:
        """Load the last checkpoint, and drop later epochs of the history: they are repeated."""
        state = self._store.load()
        finished = len(state["losses"]) if state is not None else 0
        self.epochs = list(read_history(self._path))[:finished]
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the epoch to the history, then save the checkpoint."""
        epoch = {"epoch": len(state["losses"]), "training_loss": state["losses"][-1]}
        self.epochs.append({**epoch, **self._module.measures})
        write_atomic(self._path, json.dumps(self.epochs).encode())
        self._store.save(state)

    def clear(self) -> None:
        """Remove the checkpoint; the history stays."""
        self._store.clear()


def pretrain(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Train an encoder and write its weights and card: the task of a worker group.

    Training resumes after the last checkpoint. Every process of the group calls this; only the
    first one writes.

    Parameters
    ----------
    payload : mapping
        ``spec`` and ``places`` (JSON values of `PretrainingSpec` and `PretrainingFolders`),
        ``card`` (fields of the card that are known already), ``threads`` and ``gpu``.

    Returns
    -------
    dict
        ``epochs``: number of epochs trained.
    """
    spec = PretrainingSpec.model_validate(payload["spec"])
    folders = PretrainingFolders(**payload["places"])
    group = current_process_group(gpu=payload["gpu"])
    module = build_pretraining_module(spec, folders)
    store = StoredCheckpoints(Storage(str(folders.checkpoints)), payload["card"]["identity"])
    checkpoints = HistoryCheckpoints(store, folders.history, module)
    config = to_trainer_config(spec.training)
    with torch_settings(payload["threads"]), group.named_errors():
        history = train(
            module, config, seed=spec.training.seed, ranks=group, checkpoints=checkpoints
        )
    if group.is_first:
        best = checkpoints.epochs[history.best_epoch - 1]
        _write_weights(folders.home, payload["card"], module, best)
    group.barrier()
    return {"epochs": len(history.loss)}


def to_trainer_config(config: PretrainingConfig) -> TrainerConfig:
    """Return the configuration of the training loop."""
    return TrainerConfig(
        epochs=config.epochs,
        patience=config.patience,
        precision=config.precision,
        schedule=partial(cosine_schedule, config.warmup),
    )


def build_pretraining_module(
    spec: PretrainingSpec, folders: PretrainingFolders
) -> PretrainingModule:
    """Build the training module from the configuration and the file of molecules."""
    table = json.loads(folders.molecules.read_text(encoding="utf-8"))
    molecules = MoleculeBatch(tuple(table["smiles"]), tuple(table["names"]))
    modality, objective = build_component(spec.modality), build_component(spec.objective)
    features = FeatureStore(Path(folders.features)).load(modality, molecules.smiles)
    held_out = np.array(table["held_out"], dtype=np.int64)
    training = np.setdiff1d(np.arange(len(molecules)), held_out)
    encoder = modality.encoder(seed=spec.training.seed)
    encoder.fit(features, training)
    return PretrainingModule(
        model=objective.model(encoder, seed=spec.training.seed),
        objective=objective,
        examples=objective.prepare(StoredModality(modality, features), molecules),
        training_rows=training,
        held_out_rows=held_out,
        config=spec.training,
    )


def _write_weights(
    folder: Path, known_fields: Mapping[str, Any], module: PretrainingModule, best: Epoch
) -> None:
    """Write the weights of the encoder and the completed card."""
    weights = _serialize(module.model.get_submodule("encoder"))
    measures = {
        name: None if math.isnan(value) else value
        for name, value in best.items()
        if name != "epoch"
    }
    card = ModelCard(
        **known_fields,
        measures=measures,
        epochs=int(best["epoch"]),
        sha256=sha256_of(weights),
    )
    write_model_card(folder, weights, card)


def _serialize(encoder: nn.Module) -> bytes:
    """Return the bytes of the file of a state dict."""
    # Cloned, because torch saves the whole storage of a view.
    state = {name: values.detach().cpu().clone() for name, values in encoder.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
