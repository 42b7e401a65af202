"""AdamW without the bookkeeping of a general optimizer: for a head it takes as long as the sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Known:
    """What the kernel needs for the weights of a group that have gradients."""

    ids: list[int]
    weights: list[Tensor]
    state: tuple[list[Tensor], list[Tensor], list[Tensor]]


def _plain(method: Method) -> Method:
    """Return a method of torch as it is under its decorator."""
    plain: Method = getattr(method, "__wrapped__", method)
    return plain


class FusedAdamW(torch.optim.AdamW):
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
        with torch.no_grad():
            for place, group in enumerate(self.param_groups):
                _update(group, self._of(place, group))
        self.forget()

    def forget(self) -> None:
        """Let go of the gradients."""
        for group in self.param_groups:
            for weights in group["params"]:
                weights.grad = None

    def _of(self, place: int, group: dict[str, Any]) -> _Known:
        """Return what is known of the weights of a group that have gradients now."""
        weights = [each for each in group["params"] if each.grad is not None]
        ids = [id(each) for each in weights]
        known = self._known.get(place)
        if known is None or known.ids != ids:
            states = [self.state[each] or self._begun(each) for each in weights]
            first, second, steps = (
                [state[key] for state in states] for key in ("exp_avg", "exp_avg_sq", "step")
            )
            known = self._known[place] = _Known(ids, weights, (first, second, steps))
        return known

    def _begun(self, weights: Tensor) -> dict[str, Any]:
        """Return the state before the first step, as torch's own first step makes it."""
        begun = {
            "step": torch.zeros((), dtype=torch.float32, device=weights.device),
            "exp_avg": torch.zeros_like(weights, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(weights, memory_format=torch.preserve_format),
        }
        self.state[weights] = begun
        return begun

    # Decorated, each of these loads torch's compiler at its first call: 1.5 s of every process
    # that trains, for nothing, since no optimizer is compiled here.
    add_param_group = _plain(torch.optim.AdamW.add_param_group)
    state_dict = _plain(torch.optim.AdamW.state_dict)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state."""
        _plain(torch.optim.AdamW.load_state_dict)(self, state_dict)
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
