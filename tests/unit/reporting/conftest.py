"""A study with two seeds and two fractions, an encoder fine-tuned and a partition fixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from study.results.study_results import ResultSnapshot

WIDE: dict[str, Any] = {
    "name": "wide",
    "description": "two seeds, two fractions",
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 120, "labels": 6, "skew": 2.0}],
    },
    "split": {"folds": 2, "min_positives": 2},
    "modalities": {
        "counts": {"modality": "fingerprint", "size": 256},
        "characters": {
            "modality": "smiles",
            "layers": 1,
            "width": 8,
            "heads": 2,
            "feedforward": 8,
            "calibration": "finetune",
            "training": {"epochs": 1},
        },
        "descriptors": {"modality": "fingerprint", "radius": 1},
    },
    "grid": [
        {"features": [["counts"], ["characters"], ["descriptors"]]},
        {
            "features": [["counts", "characters"], ["counts", "descriptors"]],
            "technique": ["mlp_head", "label_balancer", "independent_mean"],
            "partition": ["density"],
        },
    ],
    "training": {"epochs": 2, "patience": 2, "epoch_steps": 1, "hidden": [8]},
    "seeds": [0, 1],
    "fractions": [0.5, 1.0],
}


@pytest.fixture(scope="session")
def wide_results(
    tmp_path_factory: pytest.TempPathFactory,
    spec_of: Callable[..., Any],
    run_tiny: Callable[..., Any],
) -> ResultSnapshot:
    """The launched study; read only."""
    results: ResultSnapshot = run_tiny(spec_of(WIDE, tmp_path_factory.mktemp("wide")))[1]
    return results
