"""How long the command line keeps someone waiting: `study --help`, `study plan`.

Run: ``python tests/benchmarks/bench_cli.py``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import yaml
from _bench import Row, measure, show

HELP_SECONDS, PLAN_SECONDS = 0.5, 2.0
HEAVY = {"mlflow", "mordred", "pandas", "ray", "rdkit", "sklearn", "torch", "transformers"}
FORBIDDEN = {"mlflow", "ray", "torch"}


def main() -> int:
    """Print the table; 1 if a bar was missed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.yaml"
        file.write_text(yaml.safe_dump(large_study()), encoding="utf-8")
        plan = ("plan", str(file))
        told = study(*plan).stdout
        if "cells     10,000 distinct arms" not in told:
            raise RuntimeError(f"the study file must have 10,000 distinct cells:\n{told}")
        rows = [
            Row(
                "study --help",
                measure(lambda: study("--help"), 10),
                imports("--help"),
                HELP_SECONDS,
            ),
            Row("study plan quickstart", measure(lambda: study("plan", "quickstart"), 5)),
            Row(
                "study plan, 10,000 cells",
                measure(lambda: study(*plan), 5),
                imports(*plan),
                PLAN_SECONDS,
            ),
        ]
    return show("Command line (a fresh process each run)", rows)


def large_study() -> dict[str, object]:
    """Return a study file with 2 x 5,000 combinations that are all distinct."""
    words = ("smiles", "graph", "mordred", "fingerprint")
    sets = [list(names) for size in (2, 3) for names in combinations(words, size)]
    numbers = {
        "learning_rate": [1e-4, 2e-4, 5e-4, 1e-3, 2e-3],
        "dropout": [0.1, 0.2, 0.3, 0.4, 0.5],
    }
    fusion = [
        "concat",
        "product",
        {"operator": "parallel", "combine": "add"},
        {"operator": "parallel", "combine": "mean"},
    ]
    partition = ["random_per_batch", "density", "round_robin", "affinity"]
    return {
        "name": "large",
        "data": "starter",
        "modalities": {"graph": {"calibration": "frozen"}},
        "grid": [
            {"features": sets, "fusion": fusion, "training": numbers},
            {
                "features": sets,
                "technique": ["label_balancer"],
                "partition": partition,
                "training": numbers,
            },
        ],
        "fractions": [0.2, 0.4, 0.6, 0.8, 1.0],
    }


def study(*arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, *options, "-m", "study", *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr}")
    return ended


def imports(*arguments: str) -> str:
    """Say which heavy packages a command imports; the heaviest are an error."""
    told = study(*arguments, options=("-X", "importtime")).stderr
    found = HEAVY & set(re.findall(r"\|\s+(\w+)$", told, re.MULTILINE))
    if found & FORBIDDEN:
        raise RuntimeError(f"study {arguments[0]} imports {', '.join(sorted(found & FORBIDDEN))}")
    return f"imports {', '.join(sorted(found))}" if found else "no heavy import"


if __name__ == "__main__":
    sys.exit(main())
