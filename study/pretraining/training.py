"""The pretraining as a training module, and the task that runs it."""

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
    """Factor of the learning rate: up in a line to 1 at `warmup`, then a half cosine to 0.

    Loshchilov & Hutter, SGDR (ICLR 2017), equation 5, one period.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


@dataclass(eq=False)
class PretrainingModule:
    """Trains the module that an objective puts around an encoder.

    Attributes
    ----------
    model : Module
        A `modalities.pretraining._base.PretrainingModel`.
    objective : PretrainingObjective
    examples : object
        What the objective prepared; row i is molecule i.
    training, held_out : Rows
        Disjoint.
    numbers : PretrainingConfig
    measured : dict of str to float
        Held-out measures of the last epoch.
    """

    model: nn.Module
    objective: PretrainingObjective
    examples: Any
    training: Rows
    held_out: Rows
    numbers: PretrainingConfig

    def __post_init__(self) -> None:
        self.measured: dict[str, float] = {}

    @property
    def module(self) -> nn.Module:
        """The encoder with the task's heads."""
        return self.model

    def groups(self) -> list[dict[str, Any]]:
        """One group: the whole model."""
        numbers = self.numbers
        weights = list(self.model.parameters())
        return [
            {"params": weights, "lr": numbers.learning_rate, "weight_decay": numbers.weight_decay}
        ]

    def batches(self, generator: torch.Generator) -> Iterator[Rows]:
        """Shuffled batches of the training rows."""
        order = torch.randperm(len(self.training), generator=generator).numpy()
        yield from _cut(self.training[order], self.numbers.batch_size)

    def loss(
        self, module: nn.Module, rows: Rows, rng: np.random.Generator
    ) -> tuple[torch.Tensor, float]:
        """Loss of the task on these rows, weighted by their number."""
        return self._values(module, rows, rng)["loss"].float(), float(len(rows))

    def measure(self, module: nn.Module) -> float:
        """Measure the held-out molecules, the same views and masks every time: -> minus the loss.

        A measure that a batch does not have (NaN) is left out of the mean, and NaN if none has it.
        """
        rng = np.random.default_rng([self.numbers.seed, len(self.held_out)])
        sums, weights = defaultdict[str, float](float), defaultdict[str, float](float)
        module.eval()
        with torch.inference_mode():
            for rows in _cut(self.held_out, self.numbers.batch_size):
                for name, value in self._values(module, rows, rng).items():
                    found = float(value)
                    sums[name] += 0.0 if math.isnan(found) else found * len(rows)
                    weights[name] += 0.0 if math.isnan(found) else len(rows)
        self.measured = {
            name: sums[name] / weights[name] if weights[name] else math.nan for name in sums
        }
        return -self.measured["loss"]

    def held(self, epoch: int) -> Collection[nn.Module]:  # noqa: ARG002 (the contract)
        """Nothing is held: every weight is trained."""
        return ()

    def _values(
        self, module: nn.Module, rows: Rows, rng: np.random.Generator
    ) -> Mapping[str, torch.Tensor]:
        device = next(self.model.parameters()).device
        batch = self.objective.collate(self.examples, rows, rng)
        found: Mapping[str, torch.Tensor] = module(
            {name: values.to(device) for name, values in batch.items()}
        )
        return found


def _cut(rows: Rows, size: int) -> Iterator[Rows]:
    """Cut into batches; a last one of one molecule joins its neighbor (batch norm, contrast)."""
    starts = list(range(0, len(rows), size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:end]


class HistoryCheckpoints:
    """Checkpoints that write down every epoch's numbers before the state, for all to read.

    Parameters
    ----------
    inner : CheckpointStore
    path : Path
        The diary: a JSON list of epochs.
    course : PretrainingModule
        Knows the held-out measures of the epoch.
    """

    def __init__(self, inner: CheckpointStore, path: Path, course: PretrainingModule) -> None:
        self._inner, self._path, self._course = inner, path, course
        self.epochs: list[Epoch] = []

    def load(self) -> Mapping[str, Any] | None:
        """Return the last state; what the diary says beyond it did not count."""
        state = self._inner.load()
        done = len(state["losses"]) if state is not None else 0
        self.epochs = list(read_history(self._path))[:done]
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the epoch down, then keep the state."""
        done = {"epoch": len(state["losses"]), "training_loss": state["losses"][-1]}
        self.epochs.append({**done, **self._course.measured})
        write_atomic(self._path, json.dumps(self.epochs).encode())
        self._inner.save(state)

    def clear(self) -> None:
        """Forget the state; the diary stays."""
        self._inner.clear()


def pretrain(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Train and keep an encoder; ``{spec, places, card, threads, gpu}`` -> epochs.

    It goes on after the last epoch that was kept. Every process of a worker group calls this;
    the first one writes.
    """
    spec = PretrainingSpec.model_validate(payload["spec"])
    places, ranks = (
        PretrainingFolders(**payload["places"]),
        current_process_group(gpu=payload["gpu"]),
    )
    course = build_pretraining_module(spec, places)
    kept = StoredCheckpoints(Storage(str(places.checkpoints)), payload["card"]["identity"])
    diary = HistoryCheckpoints(kept, places.diary, course)
    seed, pace = spec.training.seed, to_trainer_config(spec.training)
    with torch_settings(payload["threads"]), ranks.named_errors():
        history = train(course, pace, seed=seed, ranks=ranks, checkpoints=diary)
    if ranks.is_first:
        _keep(places.home, payload["card"], course, diary.epochs[history.best_epoch - 1])
    ranks.barrier()
    return {"epochs": len(history.loss)}


def to_trainer_config(numbers: PretrainingConfig) -> TrainerConfig:
    """Return the numbers of the training loop."""
    return TrainerConfig(
        epochs=numbers.epochs,
        patience=numbers.patience,
        precision=numbers.precision,
        schedule=partial(cosine_schedule, numbers.warmup),
    )


def build_pretraining_module(
    spec: PretrainingSpec, places: PretrainingFolders
) -> PretrainingModule:
    """Build encoder, task and examples from the file's numbers and the molecules laid out."""
    table = json.loads(places.molecules.read_text(encoding="utf-8"))
    molecules = MoleculeBatch(tuple(table["smiles"]), tuple(table["names"]))
    modality, objective = build_component(spec.modality), build_component(spec.objective)
    features = FeatureStore(Path(places.features)).load(modality, molecules.smiles)
    held_out = np.array(table["held_out"], dtype=np.int64)
    training = np.setdiff1d(np.arange(len(molecules)), held_out)
    encoder = modality.encoder(seed=spec.training.seed)
    encoder.fit(features, training)
    return PretrainingModule(
        model=objective.model(encoder, seed=spec.training.seed),
        objective=objective,
        examples=objective.prepare(StoredModality(modality, features), molecules),
        training=training,
        held_out=held_out,
        numbers=spec.training,
    )


def _keep(folder: Path, begun: Mapping[str, Any], course: PretrainingModule, best: Epoch) -> None:
    """Write the encoder's weights and the card, now that it can be filled in."""
    weights = _bytes(course.model.get_submodule("encoder"))
    measures = {
        name: None if math.isnan(value) else value
        for name, value in best.items()
        if name != "epoch"
    }
    card = ModelCard(
        **begun,
        measures=measures,
        epochs=int(best["epoch"]),
        sha256=sha256_of(weights),
    )
    write_model_card(folder, weights, card)


def _bytes(encoder: nn.Module) -> bytes:
    """Return the file of a state dict; copies, so that no view drags a larger tensor along."""
    state = {name: values.detach().cpu().clone() for name, values in encoder.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
