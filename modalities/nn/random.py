"""Seeding of the initial weights of encoders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the initial weights of the modules that are built inside a block.

    Torch's initializers draw from the global CPU generator, which is seeded for the block and
    restored after it. Generators of accelerators are not changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
