"""The seed's table as a whole study on warm features, beside one process for each trial.

The preset `kdd2023` with frozen encoders and the fractions 0.25, 0.5, 0.75 and 1, all techniques
and operators, five folds; on the archives where they are at hand, else on simulated molecules. One
process a trial is measured for some trials, two at a time, each on features and embeddings that are
ready; what all would take follows from what the same trials took in the study. Their scores must be
those of the study, to the last bit.
Run: ``python tests/benchmarks/bench_whole_study.py`` (``--seeds 1`` takes half as long).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from _bench import machine, say
from _launches import launched
from _processes import memory_line

import study
from study.data import DatasetConfig, build_dataset
from study.errors import InputError
from study.planning.trials import Trial
from study.results.ledger import Ledger
from study.results.study_results import Study, open_study
from study.storage.storage import Storage
from study.training.packing import can_share_process

BAR = 20 * 60.0
CORES = 2
FRACTIONS = [0.25, 0.5, 0.75, 1.0]
SIMULATED = {
    "preset": "simulated",
    "sources": [{"source": "simulated", "molecules": 5000, "labels": 91, "skew": 2.0}],
}
ONE = "import json, sys; from study.training.tasks import trial; trial(json.loads(sys.argv[1]))"


def main() -> int:
    """Print the table; 1 if the study takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sample", type=int, default=16, help="trials in a process of their own")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = _content(chosen.seeds)
        say(f"The whole study, {chosen.seeds} seeds an arm\n{machine()}")
        warm = launched(_warming(content), folder, "--no-mlflow")
        say(f"features of every modality, cold, and a small study: {warm.wall:.0f} s")
        whole = launched(content, folder, "--no-mlflow")
        home = folder / "studies" / content["name"]
        opened = open_study(home)
        word = "kept" if whole.wall <= BAR else "MISSED"
        say(
            f"{len(opened.data.dataset):,} molecules x {len(opened.data.dataset.label_names)} "
            f"labels, {len(list(opened.plan.trials())):,} trials: {whole.wall / 60:.1f} min, "
            f"{whole.cpu / 60:.1f} CPU-min (bar {BAR / 60:.0f} min {word}); at most "
            f"{memory_line(whole.peaks)}"
        )
        _alone(opened, home, chosen.sample)
    return int(whole.wall > BAR)


def _content(seeds: int) -> dict[str, Any]:
    """Return the preset with frozen encoders, which need no weights here."""
    file = Path(study.__file__).parent / "presets" / "kdd2023.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    for modality in content["modalities"].values():
        modality["calibration"] = "frozen"
        for key in ("weights", "sha256", "training"):
            modality.pop(key, None)
    try:
        build_dataset(DatasetConfig.model_validate(content["data"]))
    except InputError as error:
        say(f"simulated molecules: {error}")
        content["data"] = SIMULATED
    return {**content, "name": "whole", "fractions": FRACTIONS, "seeds": list(range(seeds))}


def _warming(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study that needs the same features and little else."""
    grid = [{"features": [["smiles"], ["graph"], ["mordred"], ["fingerprint"]]}]
    numbers = {"epochs": 1, "epoch_steps": 1}
    small = {"name": "warming", "grid": grid, "fractions": [0.25], "seeds": [0]}
    return {**content, **small, "training": numbers}


def _alone(opened: Study, home: Path, count: int) -> None:
    """Print what one process for each trial takes."""
    trials = {opened.data.trial_id(t): t for t in opened.plan.trials() if can_share_process(t)}
    seconds = {key: opened.ledger.get(key).seconds for key in trials}
    sample = random.Random(0).sample(sorted(trials), count)  # noqa: S311 (no secret)
    apart = Ledger(Storage(str(home.parent / "apart")))
    apart.storage.prepare()
    first = sum(seconds[key] for key, trial in trials.items() if trial.seed == 0)
    say(f"of {len(trials):,} heads' seconds, seed 0 took {first / sum(seconds.values()):.0%}")
    wall = _wall([trials[key] for key in sample], home, apart)
    for key in sample:
        if not np.array_equal(apart.get(key).scores, opened.ledger.get(key).scores):
            raise SystemExit(f"{trials[key]} gives other scores in a process of its own")
    share = sum(seconds[key] for key in sample) / sum(seconds.values())
    say(
        f"one process a trial, two at a time: {count} trials in {wall:.0f} s, so all "
        f"{len(trials):,} in about {wall / share / 60:.0f} min; the scores are the same"
    )


def _wall(trials: Sequence[Trial], home: Path, apart: Ledger) -> float:
    payloads = [
        json.dumps(
            {
                "study": str(home),
                "digest": "",
                "ledger": apart.storage.address,
                "threads": 1,
                "trials": [trial.to_json()],
            }
        )
        for trial in trials
    ]
    began = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        commands = ([sys.executable, "-c", ONE, payload] for payload in payloads)
        list(pool.map(lambda command: subprocess.run(command, check=True), commands))
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
