"""Sources of odor labels, and their curation to a data set."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.data.cache import CacheWarning, load_or_build, pack, unpack
    from study.data.curation import build_dataset, curate
    from study.data.dataset import CurationStep, Description, OdorDataset, describe
    from study.data.download import (
        FetchError,
        FetchReport,
        archive_names,
        archive_terms,
        fetch_archives,
    )
    from study.data.recipe import DatasetConfig, dataset_presets
    from study.data.source import Threshold

__all__ = [
    "CacheWarning",
    "CurationStep",
    "DatasetConfig",
    "Description",
    "FetchError",
    "FetchReport",
    "OdorDataset",
    "Threshold",
    "archive_names",
    "archive_terms",
    "build_dataset",
    "curate",
    "dataset_presets",
    "describe",
    "fetch_archives",
    "load_or_build",
    "pack",
    "unpack",
]

_MODULES = {
    "CacheWarning": "cache",
    "CurationStep": "dataset",
    "Description": "dataset",
    "FetchError": "download",
    "FetchReport": "download",
    "OdorDataset": "dataset",
    "DatasetConfig": "recipe",
    "Threshold": "source",
    "archive_names": "download",
    "build_dataset": "curation",
    "curate": "curation",
    "describe": "dataset",
    "fetch_archives": "download",
    "load_or_build": "cache",
    "pack": "cache",
    "dataset_presets": "recipe",
    "archive_terms": "download",
    "unpack": "cache",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'study.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"study.data.{_MODULES[name]}"), name)
