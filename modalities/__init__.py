"""Modalities represent molecules: molecules -> features -> embeddings.

A public file name in this folder is the name of a modality. This package imports neither `fusion`
nor `study`, and importing it loads neither RDKit nor torch.
"""

from modalities._base import (
    Encoder,
    Modality,
    ModalityError,
    ModalityFeatures,
    Ragged,
    StagedEncoder,
)
from modalities.store.feature_store import FeatureStore, FeatureStoreWarning, Shard
from modalities.store.files import StoreError, sha256_of
from modalities.weights.locate import find_weights
from modalities.weights.model_card import find_model_card

__all__ = [
    "Encoder",
    "FeatureStore",
    "FeatureStoreWarning",
    "Modality",
    "ModalityError",
    "ModalityFeatures",
    "Ragged",
    "Shard",
    "StagedEncoder",
    "StoreError",
    "find_model_card",
    "find_weights",
    "sha256_of",
]
