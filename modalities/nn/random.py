"""Random numbers of encoders: seeded starting weights and dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.functional import dropout

_STEPS = 2**16


class Dropout(nn.Module):
    """Zero a share p of the values while training, and scale the others by ``1 / (1 - p)``.

    Torch draws 32 random bits and more for each value, which took a third of the time of a
    training step of MolCLR. Here a value takes 16 bits, so p is rounded to a multiple of 1 / 65536
    and the scale is that of the rounded p. Other devices than the CPU use torch's own.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop values of x, of any shape."""
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return dropout(x, self.p, self.training)
        dropped = min(round(self.p * _STEPS), _STEPS - 1)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        values = bits.view(torch.int16)[: x.numel()].view(x.shape)
        kept = torch.ge(values, dropped - _STEPS // 2, out=torch.empty_like(values, dtype=x.dtype))
        return x * kept.mul_(_STEPS / (_STEPS - dropped))

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        return f"p={self.p}"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make modules built inside draw their weights from `seed`.

    Torch's initializers draw from the global generator of the CPU: it is set for the block and
    put back after it. Generators of accelerators are not touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
