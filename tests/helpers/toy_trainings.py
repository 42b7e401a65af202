"""Small trainings on made-up numbers, shared by the tests of the loop and run in processes."""

import os
import signal
import sys
import warnings
import weakref
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.functional import mse_loss

from fusion import HeadShape, LabelBalancer, MultimodalModel, seeded
from fusion.partitions import PartitionContext
from fusion.partitions.random_per_batch import RandomPerBatch
from study.config.training import TrainingConfig
from study.storage.storage import Storage
from study.training.checkpoints import StoredCheckpoints
from study.training.distributed import ProcessGroup, current_process_group
from study.training.supervised import LabeledRows, fit
from study.training.trainer import TrainerConfig, train

N, WIDTH, LABELS = 60, 4, 3
SIZES = (5, 7, 1)
"""Batches of an epoch: two replicas share none of them equally, and of the last one gets none."""


class Regression:
    """Three steps an epoch with batches of `SIZES`; maybe a weight that the output does not use."""

    def __init__(self, values=None, *, unused=False):
        rng = np.random.default_rng(0)
        self.x = torch.from_numpy(rng.normal(size=(sum(SIZES), WIDTH)).astype(np.float32))
        self.y = torch.from_numpy(rng.normal(size=(sum(SIZES), 1)).astype(np.float32))
        with seeded(0):
            self.module = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1))
        if unused:
            self.module.register_parameter("unused", nn.Parameter(torch.ones(2)))
        self.values = iter(values or range(99))
        self.asked = 0

    def parameter_groups(self):
        return [{"params": list(self.module.parameters()), "lr": 0.05, "weight_decay": 0.0}]

    def batches(self, generator):
        order = torch.randperm(sum(SIZES), generator=generator).numpy()
        yield from np.split(order, np.cumsum(SIZES)[:-1])

    def loss(self, module, rows, rng):  # noqa: ARG002 (a regression draws nothing)
        return mse_loss(module(self.x[rows]), self.y[rows]), len(rows)

    def validate(self, module):  # noqa: ARG002 (made-up values)
        self.asked += 1
        return float(next(self.values))

    def frozen_modules(self, epoch):
        return list(self.module[0].modules()) if epoch == 2 else []


def in_group(rank, size, folder):
    """Train as one process of a group and leave what came out under ``folder/rank``."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    store = f"file://{folder / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    ranks = current_process_group()
    outcome = regression(ranks, epochs=3)
    falling = Regression([3, 2, 1, 9] if rank == 0 else [])
    outcome["falling"] = train(falling, TrainerConfig(9, patience=2), seed=0, ranks=ranks).monitored
    outcome["asked"] = falling.asked
    outcome["sum"], outcome["first"] = ranks.total([rank, 1.0]), ranks.agree(10.0 + rank)
    group = weakref.ref(distributed.group.WORLD)
    distributed.destroy_process_group()
    outcome["group is gone"] = group() is None
    torch.save(outcome, folder / str(rank))


def regression(ranks, epochs):
    """Weights and losses of the regression."""
    course = Regression(unused=True)
    history = train(
        course, TrainerConfig(epochs, patience=epochs, average=0.5), seed=0, ranks=ranks
    )
    return {"weights": course.module.state_dict(), "losses": history.loss}


class Bent(nn.Module):
    """An encoder with all that a resumed training may lose: batch norm and dropout."""

    def __init__(self):
        super().__init__()
        self.low = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout(0.2))
        self.high = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout(0.2))
        self.dim = WIDTH

    def fit(self, features, rows):
        pass

    def collate(self, features, rows):
        pass

    def stages(self):
        return [self.low, self.high]

    def forward(self, batch):
        return self.high(self.low(batch))


def balanced():
    """Two encoders trained jointly under the label balancer, which draws owners of its own."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(N, WIDTH)).astype(np.float32)
    labels = (features[:, :LABELS] + rng.normal(size=(N, LABELS)) > 0).astype(np.uint8)
    rows = np.arange(N)
    training, validation = LabeledRows(rows[:40], labels[:40]), LabeledRows(rows[40:], labels[40:])
    context = PartitionContext(("a", "b"), training.labels, training.rows, 0)
    with seeded(0):
        owners = RandomPerBatch().build(context)
        head = LabelBalancer({"a": WIDTH, "b": WIDTH}, LABELS, HeadShape((8,), 0.5), owners)
        model = MultimodalModel({"a": Bent(), "b": Bent()}, head)
    gather = dict.fromkeys("ab", lambda some: torch.from_numpy(features[some]))
    return model, gather, training, validation


def numbers(**changed):
    base = {"epochs": 6, "batch_size": 8, "patience": 9, "epoch_steps": 1, "average": 0.9}
    return TrainingConfig(**{**base, **changed})


def checkpoint_in(folder):
    return StoredCheckpoints(Storage(str(folder)), "toy")


def main(folder, dies_after):
    """Train with checkpoints and die in the middle of an epoch, as if killed from outside."""
    torch.set_num_threads(1)
    model, gather, training, validation = balanced()
    calls = []

    def deadly(rows):
        calls.append(rows)
        if len(calls) == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return gather["a"](rows)

    wired = {"a": deadly, "b": gather["b"]}
    kept = checkpoint_in(folder)
    fit(
        model,
        wired,
        training,
        validation,
        numbers(),
        seed=3,
        ranks=ProcessGroup(),
        checkpoints=kept,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
