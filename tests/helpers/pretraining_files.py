"""Small pretraining files of generated molecules, for the tests of pretraining and embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from study.data.sources.simulated import mirror_pairs

TEXT: dict[str, Any] = {
    "modality": "smiles",
    "layers": 1,
    "width": 8,
    "heads": 2,
    "feedforward": 8,
}


def molecules(n: int) -> list[str]:
    """Return n canonical SMILES, half of them mirror images of the others."""
    left, right = mirror_pairs(n // 2, np.random.default_rng(0))
    return [*left, *right]


def write_table(folder: Path, rows: list[str]) -> Path:
    """Write a table with the columns ``id``, ``smi`` and ``called``."""
    path = folder / "molecules.csv"
    lines = [f"{i},{smiles},name-{i}" for i, smiles in enumerate(rows)]
    path.write_text("\n".join(["id,smi,called", *lines]) + "\n")
    return path


def write_file(folder: Path, **sections: Any) -> Path:
    """Write a pretraining file and, unless there is one, its table of 40 molecules."""
    table = folder / "molecules.csv"
    if not table.is_file():
        write_table(folder, molecules(40))
    content = {
        "name": "small",
        "objective": "masked_characters",
        "modality": TEXT,
        "molecules": {"file": str(table), "smiles": "smi", "names": "called", "terms": "made up"},
        "held_out": 0.2,
        "training": {"epochs": 2, "batch_size": 16},
        "run": {"storage": str(folder / "out")},
        **sections,
    }
    path = folder / "pretraining.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
