"""Random numbers of encoders: seeded starting weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make modules built inside draw their weights from `seed`.

    Torch's initializers draw from the global generator of the CPU: it is set for the block and
    put back after it. Generators of accelerators are not touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
