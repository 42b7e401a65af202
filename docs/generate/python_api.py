"""The reference of the Python API: the names of `study.__all__` and the extension contracts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import study

CONTRACTS = (
    (
        "Modality and encoder",
        ("modalities.Modality", "modalities.Encoder", "modalities.StagedEncoder"),
    ),
    ("Features of a modality", ("modalities.ModalityFeatures", "modalities.Ragged")),
    ("Fusion operator", ("fusion.FusionOperator", "fusion.HeadShape")),
    (
        "Label partition",
        (
            "fusion.partitions.PartitionRule",
            "fusion.partitions.PartitionContext",
            "fusion.partitions.LabelPartition",
        ),
    ),
    (
        "Source of data",
        ("study.data.source.Source", "study.data.source.RawTable", "study.data.source.RawEntry"),
    ),
    (
        "Pretraining objective",
        ("modalities.pretraining.PretrainingObjective", "modalities.pretraining.MoleculeBatch"),
    ),
)
"""Headings and names of the contracts that extensions implement."""
HEAD = """# Python API

This page is generated from the docstrings. Names that are not listed here may change.

"""


def render() -> str:
    """Return the page: the public names of `study`, then the contracts of extensions."""
    return HEAD + "\n".join([*_render_study(), *_render_contracts()])


def _render_study() -> Iterator[str]:
    names = [name for name in getattr(study, "__all__", ()) if not name.startswith("_")]
    if names:
        yield "## `study`\n"
    for name in names:
        yield from _render_object(_find_address(name), f"study.{name}", 3)


def _find_address(name: str) -> str:
    """Return where a public name is defined."""
    item = getattr(study, name)
    if inspect.ismodule(item):
        return item.__name__
    if inspect.isclass(item) or inspect.isfunction(item):
        return f"{item.__module__}.{item.__qualname__}"
    return f"study.{name}"


def _render_contracts() -> Iterator[str]:
    yield "## Contracts of extensions\n"
    yield "[Extending](extending.md) shows how to use them.\n"
    for heading, names in CONTRACTS:
        yield f"### {heading}\n"
        for name in names:
            yield from _render_object(name, name, 4)


def _render_object(address: str, heading: str, level: int) -> Iterator[str]:
    yield f"::: {address}\n    options:\n      heading: {heading}\n      heading_level: {level}\n"
