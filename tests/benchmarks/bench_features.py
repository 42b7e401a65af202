"""Featurizing, on one core and on all of them, and reading what was featurized before.

One core: the odorants of the table that ships with the project. All cores: Mordred's descriptors of
the seed's table if its archives are at hand, else of simulated molecules, as a launch makes them.
Run: ``python tests/benchmarks/bench_features.py``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from _bench import Cost, Row, measure, show
from _processes import family, memory_line

from modalities import FeatureStore, Modality, ModalityError, Shard
from study.data import DatasetConfig, build_dataset
from study.errors import InputError
from study.executors.base import ResultCallback, Task, TaskResult
from study.executors.ray import RayExecutor
from study.plugins.registry import Registry

MOLECULES = 200
TABLE = 5_000
COLD_BAR, WARM_BAR = 300.0, 1.0


def main() -> int:
    """Print the table."""
    smiles = build_dataset(DatasetConfig.model_validate("starter")).smiles[:MOLECULES]
    words = Registry("modality")
    rows = []
    for word in words.names():
        try:
            modality = words.load(word)()
        except ModalityError as error:  # it needs a file that the project does not ship
            sys.stderr.write(f"left out: {error}\n")
        else:
            rows += _rows(word, modality, smiles)
    status = show(f"Features, for 1,000 molecules (measured on {len(smiles)} odorants)", rows)
    return status | _whole_table()


def _rows(word: str, modality: Modality, smiles: Sequence[str]) -> list[Row]:
    modality.featurize(smiles[0])  # the first molecule pays the imports
    thousands = len(smiles) / 1000
    made = measure(lambda: [modality.featurize(text) for text in smiles])
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        cold = measure(lambda: store.load(modality, smiles))
        warm = measure(lambda: store.load(modality, smiles), 5)
        disk = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return [
        Row(f"{word}: featurize", made.per(thousands)),
        Row(f"{word}: featurize, keep on disk", cold.per(thousands)),
        Row(f"{word}: load warm", warm.per(thousands), f"{disk / thousands / 1e6:.1f} MB"),
    ]


def _whole_table() -> int:
    """Print what the descriptors of a whole table take on all cores, and when they are there."""
    recipe = "gs-lf-ifra"
    try:
        smiles = build_dataset(DatasetConfig.model_validate(recipe)).smiles
    except InputError as error:
        sys.stderr.write(f"simulated molecules: {error}\n")
        source = {"source": "simulated", "molecules": TABLE, "labels": 10}
        recipe = "simulated"
        made = DatasetConfig.model_validate({"preset": recipe, "sources": [source]})
        smiles = build_dataset(made).smiles
    with tempfile.TemporaryDirectory() as folder, family() as processes:
        executor = RayExecutor("local")
        store, modality = FeatureStore(Path(folder)), Registry("modality").load("mordred")()
        tasks = [
            Task(str(shard.bucket), "study.training.tasks:featurize", _payload(folder, shard))
            for shard in store.missing(modality, smiles)
        ]
        before, began = processes.cpu_seconds(), time.perf_counter()
        executor.map(tasks, ResultCallback(_kept))
        store.load(modality, smiles)
        cold = Cost(time.perf_counter() - began, processes.cpu_seconds() - before)
        executor.close()
        memory = memory_line(processes.peaks())
        warm = measure(lambda: FeatureStore(Path(folder)).load(modality, smiles), 5)
    rows = [
        Row("mordred: cold, all cores", cold, f"at most {memory}", COLD_BAR),
        Row("mordred: warm", warm, "memory-mapped", WARM_BAR),
    ]
    return show(f"A table of {len(smiles):,} molecules ({recipe})", rows)


def _payload(folder: str, shard: Shard) -> dict[str, object]:
    choice = {"modality": "mordred"}
    return {
        "store": folder,
        "choice": choice,
        "bucket": shard.bucket,
        "smiles": list(shard.smiles),
    }


def _kept(outcome: TaskResult) -> None:
    if not outcome.finished:
        raise RuntimeError(outcome.cause)


if __name__ == "__main__":
    sys.exit(main())
