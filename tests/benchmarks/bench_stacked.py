"""Heads in packs beside one Ray Tune trial each, in plain PyTorch; the same AUROC, the same run.

Run: ``python tests/benchmarks/bench_stacked.py`` (``--members`` heads of the 512; all of them take
about an hour on two cores, nearly all of it the other side's). ``--together`` stacks the members of
a pack on the CPU too, as on a GPU.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _bench import machine, say
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from study.cells import Cell, Feature, TrialSpec
from study.choices import ModalityChoice
from study.data import OdorDataset
from study.embeddings import job_of
from study.inputs import Inputs
from study.metrics import auroc
from study.numbers import Training
from study.numerics import settled
from study.splits import Fold, Split
from study.stacked import run_pack

WIDTH, HIDDEN, LABELS, ROWS, FOLDS = 1300, 256, 91, 4000, 5
HELD, EPOCHS, BATCH, ALL = ROWS // 4, 30, 128, 512
CORES = 2
RATIO_BAR, FLOPS_BAR = 3.0, 0.6


def main() -> int:
    """Print how long each side takes for the same heads, and whether they are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=24)
    parser.add_argument("--together", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_inputs(Path(folder))
        say(f"Stacked heads: {chosen.members} of {ALL} measured, the others were not run")
        say(machine())
        share = achieved(folder)
        ratio = compared(folder, chosen.members, together=chosen.together)
    return int(ratio < RATIO_BAR or share < FLOPS_BAR)


def make_inputs(folder: Path) -> None:
    """Write a table of which half of the signal is linear, its folds and its embeddings."""
    rng = np.random.default_rng(0)
    n = (ROWS + HELD) * FOLDS // (FOLDS - 1)
    values = rng.standard_normal((n, WIDTH)).astype(np.float32)
    signal = values @ rng.standard_normal((WIDTH, LABELS)) / WIDTH**0.5
    noisy = signal + rng.standard_normal((n, LABELS))
    rates = np.geomspace(0.01, 0.3, LABELS)
    labels = (noisy > np.quantile(noisy, 1 - rates, axis=0).diagonal()).astype(np.uint8)
    names = tuple(f"label {i}" for i in range(LABELS))
    dataset = OdorDataset("made", tuple(f"molecule {i}" for i in range(n)), labels, names)
    tests = np.array_split(rng.permutation(n), FOLDS)
    folds = tuple(_fold(i, np.sort(test), n) for i, test in enumerate(tests))
    split = Split("molecule", 0, FOLDS, 1, (1.0,), np.arange(n), folds, dataset.digest)
    inputs = Inputs(dataset, split, folder / "cache")
    inputs.save(folder)
    first = trial(0)
    job = job_of(first.cell.features[0], first)
    if job is None:
        raise RuntimeError("the embeddings of this study are to be ready")
    inputs.embedding_store.put(inputs.job_id(job), values)
    np.save(folder / "values.npy", values)


def _fold(index: int, test: NDArray[np.int64], n: int) -> Fold:
    rest = np.random.default_rng(index).permutation(np.setdiff1d(np.arange(n), test))
    return Fold(0, index, test, {1.0: np.sort(rest[HELD:])}, {1.0: np.sort(rest[:HELD])})


def trial(number: int) -> TrialSpec:
    """Return one of the heads: they differ in fold, learning rate, decay and dropout."""
    training = Training(
        epochs=EPOCHS,
        patience=EPOCHS,
        hidden=(HIDDEN,),
        batch_size=BATCH,
        learning_rate=(5e-4, 1e-3, 2e-3, 4e-3)[number // FOLDS % 4],
        dropout=(0.3, 0.4, 0.5, 0.6, 0.7)[number // (FOLDS * 4) % 5],
        weight_decay=0.25 * (1 + number // (FOLDS * 20)),
    )
    choice = ModalityChoice.model_validate({"modality": "smiles", "calibration": "frozen"})
    cell = Cell((Feature("x", choice),), "single", None, None, 1.0, training)
    return TrialSpec(cell, 0, number % FOLDS, 0)


def achieved(folder: str, members: int = 3) -> float:
    """Print the arithmetic of a pack in one process beside that of bare matrix products."""
    inputs = Inputs.load(Path(folder))
    with settled(1):
        before = product_rate()
        seconds, flops = 0.0, 0.0
        for ended in run_pack([trial(i * FOLDS) for i in range(members)], inputs):
            if ended.result is None:
                raise RuntimeError(ended.cause)
            seconds += ended.result.seconds
            flops += work(ended.result.counts["epochs"])
        product = (before + product_rate()) / 2
    share = flops / seconds / product
    say(
        f"arithmetic of {members} heads, one thread: {flops / seconds / 1e9:.0f} GFLOP/s, the matrix "
        f"product of its layers {product / 1e9:.0f}: {share:.0%} (bar {FLOPS_BAR:.0%} "
        f"{'kept' if share >= FLOPS_BAR else 'MISSED'})"
    )
    return share


def work(epochs: int) -> float:
    """Return the floating-point operations of a training and its validations.

    Forward, and backward without the gradient of the inputs.
    """
    first, second = WIDTH * HIDDEN, HIDDEN * LABELS
    return epochs * (2.0 * ROWS * (2 * first + 3 * second) + 2.0 * HELD * (first + second))


def product_rate() -> float:
    """Return operations a second of the two matrix products that make up most of a step."""
    x, weights, inner = (
        torch.randn(BATCH, WIDTH),
        torch.randn(HIDDEN, WIDTH),
        torch.randn(BATCH, HIDDEN),
    )
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(100):
            torch.mm(x, weights.t())
            torch.mm(inner.t(), x)
        best = min(best, (time.perf_counter() - started) / 100)
    return 4.0 * BATCH * WIDTH * HIDDEN / best


def compared(folder: str, members: int, *, together: bool) -> float:
    """Print the wall time of both sides for the same heads; return the ratio of the default."""
    import ray
    from ray import tune

    os.environ.update(RAY_AIR_NEW_OUTPUT="0", OMP_NUM_THREADS="1")
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    try:
        packs = [list(range(members))[i::CORES] for i in range(CORES)]
        own, found = tuned(
            tune, in_pack, [{"folder": folder, "numbers": p, "together": together} for p in packs]
        )
        say(
            f"{members} heads in {CORES} packs{' (stacked)' if together else ''}: {own:.1f} s, {own / members:.2f} s a head"
        )
        ratios = []
        for reuse in (False, True):
            grid = [{"folder": folder, "numbers": [number]} for number in range(members)]
            theirs, expected = tuned(tune, in_plain_torch, grid, reuse=reuse)
            ratios.append(theirs / own)
            apart = max(abs(found[n] - expected[n]) for n in range(members))
            mean = abs(np.mean(list(found.values())) - np.mean(list(expected.values())))
            name = "Ray Tune, one trial each" + (", actors reused" if reuse else "")
            say(
                f"{name}: {theirs:.1f} s, {theirs / members:.2f} s a head: {theirs / own:.2f} times "
                f"as long; AUROC apart by {apart:.4f} at most, their means by {mean:.5f}"
            )
            if mean > 1e-3:
                raise RuntimeError("the two sides do not train the same heads")
    finally:
        ray.shutdown()
    say(f"bar {RATIO_BAR:g} times {'kept' if ratios[0] >= RATIO_BAR else 'MISSED'}")
    return ratios[0]


def tuned(
    tune: Any, function: Any, grid: Sequence[Mapping[str, Any]], *, reuse: bool = False
) -> tuple[float, dict[int, float]]:
    """Run one Ray Tune trial for each item: wall seconds, and the AUROC of every head."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as storage:
        results = tune.Tuner(
            tune.with_resources(function, {"cpu": 1}),
            param_space={"item": tune.grid_search(list(grid))},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
    if results.errors:
        raise RuntimeError(results.errors[0])
    found: dict[int, float] = {}
    for result in results:
        found.update({int(n): value for n, value in result.metrics["aurocs"].items()})
    return time.perf_counter() - started, found


def in_pack(config: Mapping[str, Any]) -> dict[str, Any]:
    """Train the heads of a pack."""
    item = config["item"]
    inputs, trials = Inputs.load(Path(item["folder"])), [trial(n) for n in item["numbers"]]
    ids = {inputs.trial_id(own): n for n, own in zip(item["numbers"], trials, strict=True)}
    aurocs = {}
    with settled(1):
        for ended in run_pack(trials, inputs, together=item["together"]):
            if ended.result is None:
                raise RuntimeError(ended.cause)
            aurocs[str(ids[ended.result.id])] = float(np.nanmean(ended.result.auroc))
    return {"aurocs": aurocs}


def in_plain_torch(config: Mapping[str, Any]) -> dict[str, Any]:
    """Train one head as anybody would: torch's own modules, optimizer and average."""
    (number,) = config["item"]["numbers"]
    folder = Path(config["item"]["folder"])
    inputs, spec = Inputs.load(folder), trial(number)
    fold, labels = inputs.fold(spec), inputs.dataset.labels
    values = np.load(folder / "values.npy")
    values = (values - values[fold.fit[1.0]].mean(0)) / values[fold.fit[1.0]].std(0)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    x, y = torch.from_numpy(values), torch.from_numpy(labels.astype(np.float32))
    model = plain_training(x, y, fold, spec)
    with torch.no_grad():
        scores = model(x[torch.tensor(fold.test)]).sigmoid().numpy()
    return {"aurocs": {str(number): float(np.nanmean(auroc(labels[fold.test], scores)))}}


def plain_training(x: torch.Tensor, y: torch.Tensor, fold: Fold, spec: TrialSpec) -> nn.Module:
    """Return the averaged weights of the best epoch; random numbers as the study draws them."""
    numbers, seed = spec.cell.training, spec.torch_seed
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Dropout(numbers.dropout), nn.Linear(HIDDEN, LABELS)
    )
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(numbers.average))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=numbers.learning_rate, weight_decay=numbers.weight_decay
    )
    rows, held = (torch.tensor(part[1.0]) for part in (fold.fit, fold.validation))
    best, kept = -1.0, model
    for epoch in range(1, numbers.epochs + 1):
        model.train()
        torch.manual_seed(_seed(seed, epoch, 0))
        order = torch.Generator().manual_seed(_seed(seed, epoch))
        for batch in torch.randperm(len(rows), generator=order).split(BATCH):
            loss = nn.functional.binary_cross_entropy_with_logits(
                model(x[rows[batch]]), y[rows[batch]]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average.update_parameters(model)
        average.eval()
        with torch.no_grad():
            scores = average(x[held]).sigmoid().numpy()
        value = float(np.nanmean(auroc(y[held].numpy(), scores)))
        if value > best:
            best, kept = value, copy.deepcopy(average.module)
    return kept


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


if __name__ == "__main__":
    sys.exit(main())
