"""Sources of odor labels and their curation into one checked table."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.data.cache import CacheWarning, load_or_build, pack, unpack
    from study.data.curation import build_dataset, curate
    from study.data.dataset import CurationStep, Description, OdorDataset, describe
    from study.data.download import FetchError, FetchReport, archive_words, fetch_archives, terms
    from study.data.recipe import Recipe, presets
    from study.data.source import Threshold

__all__ = [
    "CacheWarning",
    "CurationStep",
    "Description",
    "FetchError",
    "FetchReport",
    "OdorDataset",
    "Recipe",
    "Threshold",
    "archive_words",
    "build_dataset",
    "curate",
    "describe",
    "fetch_archives",
    "load_or_build",
    "pack",
    "presets",
    "terms",
    "unpack",
]

_HOME = {
    "CacheWarning": "cache",
    "CurationStep": "dataset",
    "Description": "dataset",
    "FetchError": "download",
    "FetchReport": "download",
    "OdorDataset": "dataset",
    "Recipe": "recipe",
    "Threshold": "source",
    "archive_words": "download",
    "build_dataset": "curation",
    "curate": "curation",
    "describe": "dataset",
    "fetch_archives": "download",
    "load_or_build": "cache",
    "pack": "cache",
    "presets": "recipe",
    "terms": "download",
    "unpack": "cache",
}


def __getattr__(name: str) -> object:
    """Import a public name from its file when it is first asked for (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'study.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"study.data.{_HOME[name]}"), name)
