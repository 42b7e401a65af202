"""Sources of odor labels and their curation into one checked table."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.data._curate import build_dataset, curate
    from study.data._dataset import CurationStep, OdorDataset
    from study.data._describe import Description, describe
    from study.data._fetch import FetchError, FetchReport, archive_words, fetch_archives, terms
    from study.data._recipe import Recipe, presets
    from study.data._store import CacheWarning, load_or_build, pack, unpack
    from study.data._threshold import Threshold

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
    "CacheWarning": "_store",
    "CurationStep": "_dataset",
    "Description": "_describe",
    "FetchError": "_fetch",
    "FetchReport": "_fetch",
    "OdorDataset": "_dataset",
    "Recipe": "_recipe",
    "Threshold": "_threshold",
    "archive_words": "_fetch",
    "build_dataset": "_curate",
    "curate": "_curate",
    "describe": "_describe",
    "fetch_archives": "_fetch",
    "load_or_build": "_store",
    "pack": "_store",
    "presets": "_recipe",
    "terms": "_fetch",
    "unpack": "_store",
}


def __getattr__(name: str) -> object:
    """Import a public name from its file when it is first asked for (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'study.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"study.data.{_HOME[name]}"), name)
