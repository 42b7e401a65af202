"""The published translator's parameters, by the names and in the shapes of torch's layers.

Morris et al., J. Chem. Inf. Model. (2020). Weights that `study pretrain` made with its own layers,
before it used torch's, are in the published layout too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch

from modalities.weights.checkpoint import State

_RENAMED = (
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
    """Convert a state dict of the published layout; names of ours, and unknown ones, stay.

    Query, key and value become one tensor. The published norm is ``alpha (x - mean) / (s + 1e-6) +
    bias`` with the unbiased deviation s; torch's divides by the biased one, so that its weight is
    ``alpha sqrt((d - 1) / d)``.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of an encoder, a decoder, or a whole translator. A tensor whose new name is taken, or whose
        other two thirds are missing, keeps its name.
    """
    converted = dict(state)
    for name, values in state.items():
        new, thirds = _new_name(name), _thirds(name)
        if new == name or new in converted:
            continue
        if thirds and _alike([converted.get(third) for third in thirds]):
            converted[new] = torch.cat([converted.pop(third) for third in thirds])
        elif not thirds and values.ndim:
            del converted[name]
            converted[new] = values * _biased(len(values)) if name.endswith(".alpha") else values
    return converted


def _new_name(name: str) -> str:
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name


def _thirds(name: str) -> Sequence[str]:
    """Names of query, key and value where this is the name of one of them."""
    found = re.fullmatch(r"(.*)\.[qkv]_linear\.(.*)", name)
    return [f"{found[1]}.{part}_linear.{found[2]}" for part in "qkv"] if found else []


def _alike(thirds: Sequence[torch.Tensor | None]) -> bool:
    shapes = {None if third is None else third.shape for third in thirds}
    return len(shapes) == 1 and not shapes & {None, torch.Size()}


def _biased(width: int) -> float:
    return math.sqrt((width - 1) / width) if width else 1.0
