"""Heads in packs beside one Ray Tune trial each, in plain PyTorch; equal AUROC, the same run.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _bench import machine, say
from _processes import Family, family, memory_line
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
from study.ray_environment import set_environment
from study.result import TrialResult
from study.splits import Fold, Split
from study.stacked import Ended, run_pack

WIDTH, HIDDEN, LABELS, ROWS, FOLDS = 1300, 256, 91, 4000, 5
HELD, EPOCHS, BATCH, ALL = ROWS // 4, 30, 128, 512
CORES = 2
RATIO_BAR, FLOPS_BAR = 3.0, 0.6
SAME, SAME_HEAD = 1e-3, 0.02
"""Of AUROC over 91 labels, in the mean and of one head: the masks of dropout are others."""


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
        with family() as processes:
            ratio = compared(folder, chosen.members, processes, together=chosen.together)
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
        rates, flops, seconds = [product_rate()], 0.0, 0.0
        for number in range(members):
            started = time.process_time()
            (ended,) = run_pack([trial(number * FOLDS)], inputs)
            seconds += time.process_time() - started
            flops += work(result_of(ended).counts["epochs"])
            rates.append(product_rate())
    product = float(np.mean(rates))
    share = flops / seconds / product
    say(
        f"{members} heads on one core, reading and testing included: {flops / seconds / 1e9:.0f} "
        f"GFLOP/s; the matrix products of a step by themselves: {product / 1e9:.0f}; "
        f"{share:.0%} (bar {FLOPS_BAR:.0%} {'kept' if share >= FLOPS_BAR else 'MISSED'})"
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


def compared(folder: str, members: int, processes: Family, *, together: bool) -> float:
    """Print what both sides take for the same heads; return how many times as long the other."""
    os.environ.update(OMP_NUM_THREADS="1", TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="0")
    set_environment()
    import ray

    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    try:
        common = {"folder": folder, "together": together}
        packs = [{**common, "numbers": list(range(members))[i::CORES]} for i in range(CORES)]
        own = tuned(in_pack, packs)
        stacked = " (stacked)" if together else ""
        say(
            f"{members} heads in {CORES} packs{stacked}: {own.line(members)}; at most "
            f"{memory_line(processes.peaks())}"
        )
        alone = [{**common, "numbers": [number]} for number in range(members)]
        first = tuned(in_plain_torch, alone)
        say(f"Ray Tune, one trial each: {first.line(members)}; {first.beside(own)}")
        again = tuned(in_plain_torch, alone, reuse=True)
        say(f"the same, actors reused: {again.line(members)}; {again.beside(own)}")
    finally:
        ray.shutdown()
    ratio = first.wall / own.wall
    say(f"bar {RATIO_BAR:g} times {'kept' if ratio >= RATIO_BAR else 'MISSED'}: {ratio:.2f}")
    return ratio


@dataclass(frozen=True)
class Side:
    """What one side took, and the mean AUROC of every head."""

    wall: float
    cpu: float
    aurocs: Mapping[str, float]

    def line(self, members: int) -> str:
        return (
            f"{self.wall:.1f} s, {self.wall / members:.2f} s a head, "
            f"{self.cpu / members:.2f} CPU-s a head"
        )

    def beside(self, own: Side) -> str:
        """Say how much more it took than `own`; the heads must be the same."""
        apart = {int(n): value - own.aurocs[n] for n, value in self.aurocs.items()}
        most, mean = max(map(abs, apart.values())), float(np.mean(list(apart.values())))
        # heads of a fold share seed and masks: only folds differ independently
        folds = [np.mean([d for n, d in apart.items() if n % FOLDS == f]) for f in range(FOLDS)]
        noise = float(np.std(folds, ddof=1)) / FOLDS**0.5
        if len(apart) != len(own.aurocs) or abs(mean) > SAME + 3 * noise or most > SAME_HEAD:
            raise RuntimeError(f"the two sides train different heads: AUROC differs by {apart}")
        return (
            f"{self.wall / own.wall:.2f} times the wall, {self.cpu / own.cpu:.2f} times the CPU; "
            f"AUROC {mean:+.5f} in the mean (standard error {noise:.5f}), {most:.5f} at most"
        )


def tuned(
    work: Callable[[Mapping[str, Any]], dict[str, Any]],
    grid: Sequence[Mapping[str, Any]],
    *,
    reuse: bool = False,
) -> Side:
    """Run one Ray Tune trial for each item."""
    from ray import tune

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as storage:
        results = tune.Tuner(
            tune.with_resources(work, {"cpu": 1}),
            param_space={"item": tune.grid_search(list(grid))},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
    wall = time.perf_counter() - started
    if results.errors:
        raise results.errors[0]
    reports = [result.metrics or {} for result in results]
    aurocs = {n: value for report in reports for n, value in report["aurocs"].items()}
    return Side(wall, sum(report["cpu"] for report in reports), aurocs)


def spent() -> float:
    """CPU seconds of this process since the last call; the first time since it was started."""
    now = time.process_time()
    before, spent.__dict__["before"] = spent.__dict__.get("before", 0.0), now
    return now - before


def in_pack(config: Mapping[str, Any]) -> dict[str, Any]:
    """Train the heads of a pack."""
    item = config["item"]
    inputs, trials = Inputs.load(Path(item["folder"])), [trial(n) for n in item["numbers"]]
    ids = {inputs.trial_id(own): n for n, own in zip(item["numbers"], trials, strict=True)}
    with settled(1):
        ended = [result_of(e) for e in run_pack(trials, inputs, together=item["together"])]
    aurocs = {str(ids[result.id]): float(np.nanmean(result.auroc)) for result in ended}
    return {"aurocs": aurocs, "cpu": spent()}


def result_of(ended: Ended) -> TrialResult:
    if ended.result is None:
        raise RuntimeError(ended.cause)
    return ended.result


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
    model = plain_training(x, y, fold, spec).eval()
    with torch.no_grad():
        scores = model(x[torch.tensor(fold.test)]).sigmoid().numpy()
    mean = float(np.nanmean(auroc(labels[fold.test], scores)))
    return {"aurocs": {str(number): mean}, "cpu": spent()}


def plain_training(x: torch.Tensor, y: torch.Tensor, fold: Fold, spec: TrialSpec) -> nn.Module:
    """Return the averaged weights of the best epoch; the order of the study's batches."""
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
