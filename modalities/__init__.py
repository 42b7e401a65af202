"""Modalities represent molecules: molecules -> features -> embeddings.

A public file name in this folder is the word of a modality. This package knows nothing of
fusion or of the study, and importing it loads neither RDKit nor torch.
"""

from modalities._base import Encoder, Modality, ModalityError, ModalityFeatures, StagedEncoder
from modalities._cache import FeatureStore, Shard
from modalities._cards import card_beside
from modalities._shared_files import FeatureStoreWarning
from modalities._storage import StoreError, sha256_of
from modalities._weight_files import find_weights

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
    "card_beside",
    "find_weights",
    "sha256_of",
]
