"""Molecules a second of every encoder, used and trained, on one and two threads and on a GPU.

Each modality has a process of its own, whose largest memory is given. One step of training is a
batch of 128 through the encoder and a linear head, cross-entropy, AdamW. Modalities that need a
file of the user's are named and left out.
Run: ``python tests/benchmarks/bench_encoders.py``, or with the words that are wanted.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from _bench import Cost, Row, measure, say, show
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from modalities import ModalityError, ModalityFeatures
from modalities.pretraining import MoleculeBatch
from study.data import DatasetConfig, build_dataset
from study.plugins.registry import Registry

MOLECULES, COPIES, BATCH, LABELS = 128, 4, 128, 91
FINE_TUNING, BAR = 4000 * 20, 240.0
"""Molecules through the GCN in a fine-tuning on one fold, and the seconds it may take."""
Make = Callable[[NDArray[np.int64]], Mapping[str, torch.Tensor]]
Rows = NDArray[np.int64]


def main() -> int:
    """Print a table for every modality and objective."""
    tasks = [(_modality, word) for word in Registry("modality").names()]
    tasks += [(_objective, word) for word in Registry("objective").names()]
    tasks = [(task, word) for task, word in tasks if word in sys.argv[1:] or not sys.argv[1:]]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as alone:
        rows = [row for task, word in tasks for row in alone.submit(task, word).result()]
    return show(f"Encoders, for 1,000 odorants (batches of {BATCH})", rows)


def _modality(word: str) -> list[Row]:
    features, encoder = _ready(word)
    if encoder is None or features is None:
        return []
    rows = np.tile(np.arange(len(features)), COPIES)
    found = []
    for place, device in _places():
        step = _Steps(encoder, device, lambda some: encoder.collate(features, some))
        found.append(
            _row(f"{word}: embed, {place}", measure(lambda s=step: s.embed(rows), 2), rows)
        )
        if any(True for _ in encoder.parameters()):
            cost = measure(lambda s=step: s.train(rows), 2)
            found.append(_row(f"{word}: train, {place}", cost, rows))
            if word == "graph" and place == "1 thread":
                found.append(_fine_tuning(cost, len(rows)))
    return found


def _objective(word: str) -> list[Row]:
    """Cost of a pretraining with the first modality of the objective, views and masks included."""
    objective = Registry("objective").load(word)()
    kind = objective.modalities[0]
    features, encoder = _ready(kind)
    if encoder is None or features is None:
        return []
    modality = Registry("modality").load(kind)()
    names = tuple(f"{text.lower()}ane" for text in features.smiles)
    examples = objective.prepare(modality, MoleculeBatch(features.smiles, names))
    model, rng = objective.model(encoder, seed=0), np.random.default_rng(0)
    rows = np.tile(np.arange(len(features)), COPIES)
    found = []
    for place, device in _places():
        step = _Steps(model, device, lambda some: objective.collate(examples, some, rng))
        cost = measure(lambda s=step: s.train(rows), 2)
        found.append(_row(f"{word} of {kind}: train, {place}", cost, rows))
    return found


def _ready(word: str) -> tuple[ModalityFeatures | None, nn.Module | None]:
    """Return features of some odorants and a fitted encoder; None where a file is needed."""
    try:
        modality = Registry("modality").load(word)()
        smiles = build_dataset(DatasetConfig.model_validate("starter")).smiles[:MOLECULES]
        records = [modality.featurize(text) for text in smiles]
    except ModalityError as error:
        say(f"left out: {error}")
        return None, None
    features = ModalityFeatures.stack(modality.version, smiles, records)
    encoder = modality.encoder(seed=0)
    encoder.fit(features, np.arange(len(features)))
    return features, encoder


def _places() -> Iterator[tuple[str, torch.device]]:
    """Yield where to measure, and set the number of threads."""
    for threads in (1, 2):
        torch.set_num_threads(threads)
        yield f"{threads} thread{'s' * (threads > 1)}", torch.device("cpu")
    if torch.cuda.is_available():
        yield torch.cuda.get_device_name(), torch.device("cuda")


class _Steps:
    """A module at work on a device: an encoder with a linear head, or a model with its own loss."""

    def __init__(self, module: nn.Module, device: torch.device, make: Make) -> None:
        self.module, self.device, self.make = module.to(device), device, make
        width = getattr(module, "dim", 1)
        self.head = nn.Linear(width, LABELS).to(device)
        weights = [*module.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(weights, lr=1e-5)
        self.embed(np.arange(BATCH))  # the first batch pays for what is made once

    def embed(self, rows: Rows) -> None:
        """Pass over the rows without gradients."""
        self.module.eval()
        with torch.inference_mode():
            for batch in self._batches(rows):
                self.module(batch)
        self._wait()

    def train(self, rows: Rows) -> None:
        """Train on the rows once."""
        self.module.train()
        for batch in self._batches(rows):
            self.optimizer.zero_grad()
            self._loss(self.module(batch)).backward()
            self.optimizer.step()
        self._wait()

    def _loss(self, found: torch.Tensor | Mapping[str, torch.Tensor]) -> torch.Tensor:
        if isinstance(found, Mapping):
            return found["loss"]
        targets = torch.zeros(len(found), LABELS, device=self.device)
        return binary_cross_entropy_with_logits(self.head(found), targets)

    def _batches(self, rows: Rows) -> Iterator[dict[str, torch.Tensor]]:
        for start in range(0, len(rows), BATCH):
            batch = self.make(rows[start : start + BATCH])
            yield {name: values.to(self.device) for name, values in batch.items()}

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _row(what: str, cost: Cost, rows: Rows) -> Row:
    speed, peak = len(rows) / cost.wall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    note = f"{speed:,.0f} molecules/s; largest memory {peak:,.0f} MB"
    return Row(what, cost.per(len(rows) / 1000), note)


def _fine_tuning(cost: Cost, molecules: int) -> Row:
    """The bar is on CPU time, so that other work on the machine cannot miss it."""
    what = "graph: fine-tune, 4,000 molecules x 20 epochs, 1 thread, CPU time"
    whole = cost.per(molecules / FINE_TUNING)
    return Row(what, Cost(whole.cpu, whole.cpu), "from the row above", BAR)


if __name__ == "__main__":
    sys.exit(main())
