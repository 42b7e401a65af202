"""The card of a pretraining, as far as it is known before the training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import study
from modalities._cards import PLACE_OPTIONS
from study.pretraining.begin import Pretraining
from study.pretraining.molecules import Chosen
from study.word import RANDOM


def begun_card(pretraining: Pretraining, chosen: Chosen) -> dict[str, Any]:
    """Return the fields of the card that are known before the training."""
    spec = pretraining.spec
    options = {k: v for k, v in spec.modality.options.items() if k not in PLACE_OPTIONS}
    held_out = chosen.held_out(spec.held_out, spec.training.seed)
    return {
        "name": spec.name,
        "description": spec.description,
        "modality": spec.modality.word,
        "options": options,
        "started_from": spec.modality.options["sha256"] if spec.modality.weights else RANDOM,
        "objective": spec.objective.word,
        "objective_options": dict(spec.objective.options),
        "training": spec.training.model_dump(mode="json"),
        "data": {
            "file": chosen.source,
            "molecules": len(chosen),
            "held_out": len(held_out),
            "left_out": sum(len(each.which) for each in chosen.left_out),
            "merged": chosen.merged,
            "exclude": spec.molecules.exclude,
            "sha256": chosen.digest,
        },
        "versions": _versions(pretraining.numbers),
        "terms": spec.molecules.terms,
        "created_by": f"olfaction-study {study.__version__}",
        "identity": pretraining.identity,
    }


def _versions(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Return what the weights were made with."""
    installed = {name: metadata.version(name) for name in ("torch", "numpy", "rdkit")}
    words = {what: str(numbers[what]["version"]) for what in ("modality", "objective")}
    return {**installed, **words}
