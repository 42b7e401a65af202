"""Modalities represent molecules: molecules -> features -> embeddings.

A public file name in this folder is the word of a modality. This package knows nothing of
fusion or of the study, and importing it loads neither RDKit nor torch.
"""

from modalities._base import Encoder, Modality, ModalityError, ModalityFeatures, StagedEncoder
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
    "Shard",
    "StagedEncoder",
    "StoreError",
    "find_model_card",
    "find_weights",
    "sha256_of",
]
