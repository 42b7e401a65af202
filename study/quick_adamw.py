"""AdamW without the bookkeeping of a general optimizer: for a head it takes as long as the sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Known:
    """What the kernel needs for the weights of a group that have gradients."""

    ids: list[int]
    weights: list[Tensor]
    state: tuple[list[Tensor], list[Tensor], list[Tensor]]


class QuickAdamW(torch.optim.AdamW):
    """Torch's fused AdamW; `advance` is `step`, straight to the same kernel.

    Parameters
    ----------
    groups : iterable of dict
        With ``params``, ``lr`` and ``weight_decay``.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, fused=True)
        self._known: dict[int, _Known] = {}

    def advance(self) -> None:
        """Take a step, and let go of the gradients."""
        found = [self._of(place, group) for place, group in enumerate(self.param_groups)]
        known = [own for own in found if own is not None]
        if len(known) < len(found):
            self.step()  # it makes the state
        else:
            with torch.no_grad():
                for group, own in zip(self.param_groups, known, strict=True):
                    _update(group, own)
        self.forget()

    def forget(self) -> None:
        """Let go of the gradients."""
        for group in self.param_groups:
            for weights in group["params"]:
                weights.grad = None

    def _of(self, place: int, group: dict[str, Any]) -> _Known | None:
        """Return what is known of a group; None before its first step."""
        weights = [each for each in group["params"] if each.grad is not None]
        ids = [id(each) for each in weights]
        known = self._known.get(place)
        if known is not None and known.ids == ids:
            return known
        states = [self.state.get(each) for each in weights]
        if not all(states):
            return None
        first, second, steps = (
            [state[key] for state in states if state] for key in ("exp_avg", "exp_avg_sq", "step")
        )
        self._known[place] = _Known(ids, weights, (first, second, steps))
        return self._known[place]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state."""
        super().load_state_dict(state_dict)
        self._known = {}


def _update(group: dict[str, Any], known: _Known) -> None:
    if not known.weights:
        return
    first, second, steps = known.state
    beta1, beta2 = group["betas"]
    torch._foreach_add_(steps, 1)
    torch._fused_adamw_(
        known.weights,
        [each.grad for each in known.weights if each.grad is not None],
        first,
        second,
        [],
        steps,
        amsgrad=False,
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )
