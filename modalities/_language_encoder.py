"""A network of the transformers library as an encoder of molecules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modalities._base import ModalityFeatures


class LanguageEncoder(nn.Module):
    """``pool(network(tokens))``: the states of the last layer; padding takes no part.

    Parameters
    ----------
    network : nn.Module
        An encoder of the transformers library.
    pooling : {'mean', 'start', 'max'}
        Over all tokens, special ones included.
    padding : int
        Id that fills a batch.
    """

    def __init__(
        self, network: nn.Module, *, pooling: Literal["mean", "start", "max"], padding: int
    ) -> None:
        super().__init__()
        self.network = network
        self.pooling = pooling
        self.padding = padding

    @property
    def dim(self) -> int:
        """Width of the last layer's states."""
        config: Any = self.network.config
        return int(config.hidden_size)

    def stages(self) -> Sequence[nn.Module]:
        """Embeddings, each layer; what comes after the layers belongs to the last."""
        return stages_of(self.network)

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Fit nothing: all weights are trained."""

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Pad to the longest text of the batch: tokens (b, t) and inside bool (b, t)."""
        texts = features.fields["tokens"].take(rows)
        inside = np.arange(texts.lengths.max(initial=0)) < texts.lengths[:, None]
        tokens = np.full(inside.shape, self.padding, dtype=np.int64)
        tokens[inside] = texts.values
        return {"tokens": torch.from_numpy(tokens), "inside": torch.from_numpy(inside)}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, d)."""
        inside = batch["inside"]
        read = self.network(input_ids=batch["tokens"], attention_mask=inside.long())
        states: torch.Tensor = read.last_hidden_state  # (b, t, d)
        if self.pooling == "start":
            return states[:, 0]
        if self.pooling == "max":
            return states.masked_fill(~inside[..., None], -torch.inf).amax(dim=1)
        text = inside[..., None]
        return (states * text).sum(dim=1) / text.sum(dim=1)


def positions_of(network: nn.Module) -> int | None:
    """Most tokens that the network's table of positions can take; None without a table."""
    tables = [m for name, m in network.named_modules() if name.endswith("position_embeddings")]
    for table in tables:
        if isinstance(table, nn.Embedding):
            before = 0 if table.padding_idx is None else table.padding_idx + 1
            return table.num_embeddings - before
    return None


def stages_of(network: nn.Module) -> list[nn.Module]:
    """Cut a network at its longest list of layers: what is before, each layer, what is after."""
    lists: dict[str, nn.ModuleList] = {}
    for name, module in network.named_modules():
        inner = any(name.startswith(f"{outer}.") for outer in lists)
        if isinstance(module, nn.ModuleList) and not inner:
            lists[name] = module
    if not lists:
        return [network]
    layers = max(lists.values(), key=len)
    parts = _parts(network, layers)
    at = parts.index(layers)
    *lower, last = layers
    ends = [nn.ModuleList(parts[:at]), nn.ModuleList([last, *parts[at + 1 :]])]
    stages = [ends[0], *lower, ends[1]]
    return [stage for stage in stages if any(True for _ in stage.parameters())]


def _parts(module: nn.Module, layers: nn.Module) -> list[nn.Module]:
    """Split what contains `layers` into parts, in the order of their registration."""
    if module is layers or layers not in module.modules():
        return [module]
    own = list(module.parameters(recurse=False))
    first: list[nn.Module] = [nn.ParameterList(own)] if own else []
    return first + [part for child in module.children() for part in _parts(child, layers)]
