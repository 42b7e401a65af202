"""Conversion of the published translator's parameters to the names and shapes of torch's layers.

Morris et al., J. Chem. Inf. Model. (2020). Weights of early versions of `study pretrain`, which had
its own layers, are in the published layout too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch

from modalities.weights.checkpoint import State

_RENAMINGS = (
    (r"^((?:encoder\.|decoder\.)?)layers\.", r"\1transformer.layers."),
    (r"\.attn(?:_1)?\.", ".self_attn."),
    (r"\.attn_2\.", ".multihead_attn."),
    (r"_attn\.[qkv]_linear\.", "_attn.in_proj_"),
    (r"_attn\.out\.", "_attn.out_proj."),
    (r"\.ff\.linear_", ".linear"),
    (r"\.norm_(\d)\.", r".norm\1."),
    (r"(norm\d?)\.alpha$", r"\1.weight"),
)


def convert_published(state: State) -> State:
    """Convert a state dict of the published layout; tensors with other names are unchanged.

    Query, key and value become one tensor. The published norm is ``alpha (x - mean) / (s + 1e-6) +
    bias`` with the unbiased standard deviation s. Torch's norm divides by the biased one, so its
    weight is ``alpha sqrt((d - 1) / d)``.

    Parameters
    ----------
    state : mapping of str to Tensor
        State dict of an encoder, a decoder, or a whole translator. A tensor is not converted if
        its new name exists already, or if it is one of query, key and value and another is missing.
    """
    converted = dict(state)
    for name, values in state.items():
        new_name, triple = _rename(name), _list_triple(name)
        if new_name == name or new_name in converted:
            continue
        if triple and _have_equal_shapes([converted.get(part) for part in triple]):
            converted[new_name] = torch.cat([converted.pop(part) for part in triple])
        elif not triple and values.ndim:
            del converted[name]
            is_norm_weight = name.endswith(".alpha")
            converted[new_name] = (
                values * _compute_norm_factor(len(values)) if is_norm_weight else values
            )
    return converted


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMINGS:
        name = re.sub(pattern, replacement, name)
    return name


def _list_triple(name: str) -> Sequence[str]:
    """Return the names of query, key and value if this is one of them, else an empty list."""
    match = re.fullmatch(r"(.*)\.[qkv]_linear\.(.*)", name)
    return [f"{match[1]}.{part}_linear.{match[2]}" for part in "qkv"] if match else []


def _have_equal_shapes(tensors: Sequence[torch.Tensor | None]) -> bool:
    """Whether all tensors exist, with one shape that is not that of a scalar."""
    shapes = {None if tensor is None else tensor.shape for tensor in tensors}
    return len(shapes) == 1 and not shapes & {None, torch.Size()}


def _compute_norm_factor(width: int) -> float:
    """Return the ratio of the biased to the unbiased standard deviation."""
    return math.sqrt((width - 1) / width) if width else 1.0
