"""Fusion combines embeddings into label logits. Torch only; it knows nothing of molecules.

A public file name in `operators/` is the name of a fusion operator, one in `partitions/` the name
of a label partition. Importing this package does not import torch: the names below are imported
on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusion.base import FusionError, FusionOperator, HeadShape
    from fusion.ensemble import average_scores
    from fusion.label_balancer import LabelBalancer
    from fusion.layers import Branches, Readout, SingleHead, seeded
    from fusion.model import MultimodalModel

__all__ = [
    "Branches",
    "FusionError",
    "FusionOperator",
    "HeadShape",
    "LabelBalancer",
    "MultimodalModel",
    "Readout",
    "SingleHead",
    "average_scores",
    "seeded",
]

_MODULES = {
    "Branches": "layers",
    "FusionError": "base",
    "FusionOperator": "base",
    "HeadShape": "base",
    "LabelBalancer": "label_balancer",
    "MultimodalModel": "model",
    "Readout": "layers",
    "SingleHead": "layers",
    "average_scores": "ensemble",
    "seeded": "layers",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'fusion' has no attribute '{name}'")
    return getattr(import_module(f"fusion.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
