"""Many heads of one shape as one function of stacked weights: a batched matrix product a layer.

Shapes: m heads (members), b batch, l labels, d embedding, w width of a layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.modules.dropout import _DropoutNd

from fusion._balancer import LabelBalancer
from fusion._base import FusionError
from fusion._dropout import Dropout, kept_units, scale

Stacked = dict[str, Tensor]
"""Tensors of m members by their name in a model, each (m, ...)."""
_OWN = {"training", "_draws"}
"""Numbers of a part that may differ among heads evaluated together, as do rates of dropout."""


class Stack:
    """Models of equal structure, evaluated together.

    logits_i = model_i(batch_i) for each member i: the weights of all members lie side by side in
    tensors (m, ...), and one call serves all of them (``torch.func.vmap``). What a member draws
    is drawn for it from outside: the masks of its dropout and, where a label balancer deals
    labels anew at every step, the owners.

    Parameters
    ----------
    models : sequence of Module, (m,)
        Of one structure and shape; they may differ in weights, fixed owners and dropout rates.
        They are left alone but for the owners that they draw.
    dims : mapping of str to int
        Width of the embedding of each modality.
    device : torch.device

    Raises
    ------
    FusionError
        The models differ in structure or shape, or drop units in a way of their own.
    """

    def __init__(
        self, models: Sequence[nn.Module], dims: Mapping[str, int], device: torch.device
    ) -> None:
        check_alike(models)
        self._template = copy.deepcopy(models[0]).to(device)
        _, buffers = stack_module_state(list(models))
        self._buffers: Stacked = {name: v.to(device) for name, v in buffers.items()}
        self._device = device
        self._rates = [{n: part.p for n, part in _dropouts(model).items()} for model in models]
        self._dealers = [_dealers(model) for model in models]
        for dealer in _dealers(self._template).values():
            dealer.owner = dealer.partition.draw().to(device)  # a place for what `owners` gives
        self._widths = self._trace(dims)

    def __len__(self) -> int:
        return len(self._dealers)

    def losses(
        self,
        weights: Stacked,
        batch: Mapping[str, Tensor],
        targets: Tensor,
        shares: Tensor,
        drawn: Stacked,
    ) -> Tensor:
        """Mean cross-entropy a row and label of each member, (m,).

        Parameters
        ----------
        weights : Stacked
        batch : mapping of modality to Tensor (m, b, d)
        targets : Tensor, (m, b, l)
        shares : Tensor, (m, b)
            Share of a row in the mean of its member: 1 / rows, and 0 for rows that only fill up.
        drawn : Stacked
            What `noise` and `owners` gave.
        """
        self._template.train()
        logits = self._call({**weights, **self._buffers, **drawn}, batch)
        terms = binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
        return (terms.mean(-1) * shares).sum(-1)

    def evaluate(
        self, weights: Stacked, batch: Mapping[str, Tensor], members: Sequence[int]
    ) -> Tensor:
        """Logits (k, b, l) of k members, given the weights of all m; nothing is dropped."""
        self._template.eval()
        chosen = torch.tensor(members, dtype=torch.int64, device=self._device)
        with torch.no_grad():
            own = {name: values[chosen] for name, values in {**self._buffers, **weights}.items()}
            return self._call(own, batch)

    def _call(self, values: Stacked, batch: Mapping[str, Tensor]) -> Tensor:
        def one(own: Stacked, rows: dict[str, Tensor]) -> Tensor:
            logits: Tensor = functional_call(self._template, own, (rows,))
            return logits

        logits: Tensor = vmap(one)(values, dict(batch))
        return logits

    def noise(self, rows: Sequence[int], generators: Sequence[torch.Generator]) -> Stacked:
        """Masks of the next step as a lone model would draw them: (m, b, w) a dropout.

        Parameters
        ----------
        rows : sequence of int, (m,)
            Rows of the batch of each member; b is the largest number.
        generators : sequence of Generator, (m,)
            On the CPU.
        """
        return {
            f"{name}.noise": self._mask(name, width, rows, generators)
            for name, width in self._widths.items()
        }

    def _mask(
        self,
        name: str,
        width: tuple[int, ...],
        rows: Sequence[int],
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        rates = [own[name] for own in self._rates]
        kept = torch.zeros((len(rows), max(rows), *width), dtype=torch.bool)
        for mask, count, rate, generator in zip(kept, rows, rates, generators, strict=True):
            mask[:count] = kept_units((count, *width), rate, generator) if rate else True
        factors = torch.tensor([scale(rate) for rate in rates], device=self._device)
        return kept.to(self._device) * factors.view(-1, *[1] * (kept.ndim - 1))

    def owners(self) -> Stacked:
        """Owners that label balancers deal for the next step, (m, l) a balancer."""
        return {
            f"{name}.owner": torch.stack([own[name].deal() for own in self._dealers]).to(
                self._device
            )
            for name in self._dealers[0]
        }

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members only: the others leave the computation."""
        chosen = torch.tensor(members, dtype=torch.int64, device=self._device)
        self._buffers = {name: values[chosen] for name, values in self._buffers.items()}
        self._rates = [self._rates[i] for i in members]
        self._dealers = [self._dealers[i] for i in members]

    def _trace(self, dims: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Shape of a row at each dropout, in the order in which a model comes to them."""
        shapes: dict[str, tuple[int, ...]] = {}

        def remember(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
            return lambda _, given: shapes.update({name: tuple(given[0].shape[1:])})

        hooks = [
            part.register_forward_pre_hook(remember(name))
            for name, part in _dropouts(self._template).items()
        ]
        self._template.eval()
        with torch.no_grad():
            self._template(
                {name: torch.zeros(1, d, device=self._device) for name, d in dims.items()}
            )
        for hook in hooks:
            hook.remove()
        return shapes


def stacked_weights(models: Sequence[nn.Module], device: torch.device) -> Stacked:
    """Trained weights of models of one shape, by name: (m, ...)."""
    weights, _ = stack_module_state(list(models))
    return {name: values.detach().to(device) for name, values in weights.items()}


def check_alike(models: Sequence[nn.Module]) -> None:
    """Check that models can be evaluated together: they differ in tensors and rates only."""
    first = kind_of(models[0])
    for model in models[1:]:
        if (kind := kind_of(model)) != first:
            mine, other = next(pair for pair in zip_longest(kind, first) if pair[0] != pair[1])
            raise FusionError(f"heads trained together must be alike, got {other} and {mine}")
    for part in models[0].modules():
        if isinstance(part, _DropoutNd) and not isinstance(part, Dropout):
            raise FusionError(
                f"{type(part).__name__} draws from one generator for all heads trained together: "
                "use the Dropout of fusion._dropout"
            )


def kind_of(model: nn.Module) -> tuple[Hashable, ...]:
    """Return what a model computes, part by part: models of one kind can be stacked."""
    return tuple(
        (name, type(part).__name__, *_options(part)) for name, part in model.named_modules()
    )


def _options(part: nn.Module) -> list[tuple[str, Hashable]]:
    tensors = {**part._parameters, **part._buffers}
    shapes = [(key, None if v is None else tuple(v.shape)) for key, v in tensors.items()]
    own = _OWN | {"p"} if isinstance(part, Dropout) else _OWN
    plain = [(k, v) for k, v in vars(part).items() if isinstance(v, str | int | float)]
    return [*shapes, *(pair for pair in plain if pair[0] not in own)]


def _dropouts(model: nn.Module) -> dict[str, Dropout]:
    return {name: part for name, part in model.named_modules() if isinstance(part, Dropout)}


def _dealers(model: nn.Module) -> dict[str, LabelBalancer]:
    """Label balancers whose owners change at every step."""
    found = {n: part for n, part in model.named_modules() if isinstance(part, LabelBalancer)}
    return {name: part for name, part in found.items() if part.partition.per_batch}
