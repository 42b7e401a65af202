"""Modalities represent molecules: molecules -> features -> embeddings.

A public file name in this folder is the word of a modality. This package knows nothing of
fusion or of the study, and importing it loads neither RDKit nor torch.
"""

from modalities._base import Encoder, Modality, ModalityError, ModalityFeatures
from modalities._cache import FeatureStore, Shard
from modalities._shared_files import FeatureStoreWarning

__all__ = [
    "Encoder",
    "FeatureStore",
    "FeatureStoreWarning",
    "Modality",
    "ModalityError",
    "ModalityFeatures",
    "Shard",
]
