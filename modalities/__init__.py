"""Modalities represent molecules: molecules -> features -> embeddings.

A public file name in this folder is the name of a modality. This package imports neither `fusion`
nor `study`, and importing it loads neither RDKit nor torch: the names that need torch are imported
on first use. What a modality from outside needs is here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from modalities._base import (
    Encoder,
    Modality,
    ModalityError,
    ModalityFeatures,
    Ragged,
    Record,
    StagedEncoder,
)
from modalities.featurizers.molecule import featurizer_version, parse_smiles, require_option
from modalities.store.feature_store import FeatureStore, FeatureStoreWarning, Shard
from modalities.store.files import StoreError, sha256_of
from modalities.weights.locate import find_weights
from modalities.weights.model_card import ModelCard, find_model_card

if TYPE_CHECKING:
    from modalities.nn.random import seeded
    from modalities.nn.scalers import DescriptorScaler, FittedModule, LogCounts
    from modalities.weights.checkpoint import load_weights

__all__ = [
    "DescriptorScaler",
    "Encoder",
    "FeatureStore",
    "FeatureStoreWarning",
    "FittedModule",
    "LogCounts",
    "Modality",
    "ModalityError",
    "ModalityFeatures",
    "ModelCard",
    "Ragged",
    "Record",
    "Shard",
    "StagedEncoder",
    "StoreError",
    "featurizer_version",
    "find_model_card",
    "find_weights",
    "load_weights",
    "parse_smiles",
    "require_option",
    "seeded",
    "sha256_of",
]

_MODULES = {
    "DescriptorScaler": "nn.scalers",
    "FittedModule": "nn.scalers",
    "LogCounts": "nn.scalers",
    "load_weights": "weights.checkpoint",
    "seeded": "nn.random",
}


def __getattr__(name: str) -> object:
    """Import a name that needs torch from its module on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'modalities' has no attribute '{name}'")
    return getattr(import_module(f"modalities.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
