"""AdamW and averaged weights of many heads at once, each with numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Stacked = dict[str, Tensor]
BETAS, EPS = (0.9, 0.999), 1e-8
"""Torch's defaults, which lone heads are trained with."""


class StackedAdamW:
    r"""Decoupled weight decay (Loshchilov & Hutter 2019) on tensors (m, ...), in place.

    For member i with gradient g, learning rate a_i and decay w_i, at step t:

        p <- (1 - a_i w_i) p
        u <- b1 u + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        p <- p - a_i / (1 - b1^t) * u / (sqrt(v / (1 - b2^t)) + eps)

    and the average that is validated and kept, with decay d_i: the first p, then
    e <- d_i e + (1 - d_i) p; with d_i = 0 it is p.

    Parameters
    ----------
    weights : mapping of str to Tensor (m, ...)
        Changed in place.
    rates, decays, averages : sequence of float, (m,)
        a_i, w_i and d_i.
    compiled : bool
        Fuse the passes over memory with ``torch.compile`` (for a GPU).
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        rates: Sequence[float],
        decays: Sequence[float],
        averages: Sequence[float],
        *,
        compiled: bool = False,
    ) -> None:
        device = next(iter(weights.values())).device
        numbers = torch.tensor([rates, decays, averages], dtype=torch.float64)
        self._rates, self._decays, self._averages = numbers.to(device)
        self.weights = dict(weights)
        self._first = {name: torch.zeros_like(v) for name, v in weights.items()}
        self._second = {name: torch.zeros_like(v) for name, v in weights.items()}
        self.averaged = {name: v.clone() for name, v in weights.items()}
        self.steps = 0
        self._update: Callable[..., None] = (
            torch.compile(_update, dynamic=True) if compiled else _update
        )

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step of every member."""
        self.steps += 1
        scale = self._rates / (1 - BETAS[0] ** self.steps)
        root = torch.tensor((1 - BETAS[1] ** self.steps) ** 0.5)
        share = 1 - self._averages if self.steps > 1 else torch.ones_like(self._averages)
        with torch.no_grad():
            for name, values in self.weights.items():
                numbers = (1 - self._rates * self._decays, scale, share)
                state = (self._first[name], self._second[name], self.averaged[name])
                own = [_beside(number, values) for number in numbers]
                self._update(values, gradients[name], *state, *own, root.to(values))

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members only; `weights` are new tensors afterwards."""
        chosen = torch.tensor(members, dtype=torch.int64, device=self._rates.device)
        for name in ("_rates", "_decays", "_averages"):
            setattr(self, name, getattr(self, name)[chosen])
        for state in (self.weights, self._first, self._second, self.averaged):
            state.update({name: values[chosen] for name, values in state.items()})


def _beside(numbers: Tensor, values: Tensor) -> Tensor:
    """Numbers (m,) in a shape and type to multiply values (m, ...) with."""
    return numbers.to(values.dtype).view(-1, *[1] * (values.ndim - 1))


def _update(
    values: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    averaged: Tensor,
    decay: Tensor,
    scale: Tensor,
    share: Tensor,
    root: Tensor,
) -> None:
    values.mul_(decay)
    first.lerp_(gradient, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    values.sub_(scale * first / (second.sqrt() / root + EPS))
    averaged.lerp_(values, share)
