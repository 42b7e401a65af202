"""Random numbers of a model from a seed, without a trace in the global state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, *, devices: Sequence[int] = ()) -> Iterator[None]:
    """Run a block with torch's random state set from `seed`, then put the old state back.

    Torch initialises weights and drops units from a global generator; inside this block that
    generator starts from `seed`, and afterwards the caller's random numbers go on untouched.
    (``torch.manual_seed`` would not do: it also reseeds every CUDA device, for good.)

    Parameters
    ----------
    seed : int
        Seed of the block.
    devices : sequence of int
        CUDA devices whose generators are treated in the same way.
    """
    with torch.random.fork_rng(devices=list(devices)):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield
