"""Every operator and partition of `fusion`, with every variant of its literal options.

A test with the fixture `operator`, `rule`, `fixed_rule` or `component_class` runs once for each of
them; a new file is covered without an edit.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch

import fusion
from fusion.partitions import PartitionContext

FOLDER = Path(fusion.__file__).parent


def component_classes(folder: Path, package: str) -> Iterator[tuple[str, type]]:
    for file in sorted(folder.glob("[!_]*.py")):
        name = "".join(part.capitalize() for part in file.stem.split("_"))
        yield file.stem, getattr(import_module(f"{package}.{file.stem}"), name)


def variants(cls: type) -> Iterator[dict[str, object]]:
    hints = get_type_hints(cls.__init__) if cls.__init__ is not object.__init__ else {}
    choices = {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def cases(folder: Path, package: str) -> list:
    return [
        pytest.param(partial(cls, **options), id="-".join([name, *map(str, options.values())]))
        for name, cls in component_classes(folder, package)
        for options in variants(cls)
    ]


OPERATORS = cases(FOLDER / "operators", "fusion.operators")
RULES = cases(FOLDER / "partitions", "fusion.partitions")
COMPONENTS = [
    *component_classes(FOLDER / "operators", "fusion.operators"),
    *component_classes(FOLDER / "partitions", "fusion.partitions"),
]


@pytest.fixture(params=OPERATORS)
def operator(request):
    return request.param


@pytest.fixture(params=RULES)
def rule(request):
    return request.param


@pytest.fixture(params=[case for case in RULES if not case.values[0].func.per_batch])
def fixed_rule(request):
    return request.param


@pytest.fixture(params=[pytest.param(cls, id=name) for name, cls in COMPONENTS])
def component_class(request):
    return request.param


@pytest.fixture
def dims():
    return {"smiles": 5, "graph": 3, "mordred": 4}


@pytest.fixture
def embeddings(dims):
    generator = torch.Generator().manual_seed(7)
    return {m: torch.randn(6, d, generator=generator, dtype=torch.float64) for m, d in dims.items()}


@pytest.fixture
def make_context():
    """Contexts of any size, with labels of very different density and scores for every label."""

    def make(n_labels=11, modalities=("smiles", "graph", "mordred"), seed=0, scores=True):
        rng = np.random.default_rng(seed)
        labels = (rng.random((40, n_labels)) < rng.random(n_labels)).astype(np.uint8)
        auroc = rng.uniform(0.5, 1, (len(modalities), n_labels)) if scores else None
        rows = rng.choice(1000, size=40, replace=False)
        return PartitionContext(modalities, labels, rows, seed, auroc)

    return make
