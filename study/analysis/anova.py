"""Exact analysis of variance of a full grid, with the splits absorbed as blocks.

Shapes: b blocks (trials that all arms share), then one axis for each factor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from study.analysis.influence import Floats

HIGHER, RESIDUAL = "higher", "residual"


@dataclass(frozen=True)
class Share:
    """Part of the variance of the macro AUROC that a factor or an interaction explains.

    Attributes
    ----------
    factor : str
        ``features``, ``head``, ``fraction``, ``training.<name>``; two of them joined by `` x ``
        for an interaction; ``higher`` for all interactions of more than two; ``residual``.
    fraction : float or None
        Within this training fraction; None pooled over all of them.
    share : float
        Of the sum of squares that is left once the split is absorbed as a block; all shares of a
        fraction add up to 1.
    omega : float
        omega^2: the share less what chance gives; may be negative, NaN for the residual.
    sd : float
        AUROC standard deviation that is explained.
    """

    factor: str
    fraction: float | None
    share: float
    omega: float
    sd: float


def decompose(values: Floats, factors: Sequence[str], fraction: float | None) -> list[Share]:
    """Split the variance between the trials of a full grid by factors and interactions.

    The grid is balanced, so the sums of squares of all effects are orthogonal and add up. Blocks
    are taken out first; what arms do differently from block to block is the residual, with
    (b - 1)(arms - 1) degrees of freedom.

    Parameters
    ----------
    values : ndarray of float64, (b, levels of the first factor, ...)
        Macro AUROC of every trial.
    factors : sequence of str
        One for each axis after the first.
    fraction : float or None
        Written into the shares.

    Returns
    -------
    list of Share
        Main effects, interactions of two factors, all higher ones together (with three factors
        or more), the residual. Empty without a factor; NaN where all arms score the same.
    """
    if not factors:
        return []
    parts = list(_effects(values, factors))
    total = float(((values - values.mean(axis=_axes(values)[1:], keepdims=True)) ** 2).sum())
    left = max(0.0, total - sum(squares for _, squares, _ in parts))
    blocks, arms = len(values), values[0].size
    freedom = (blocks - 1) * (arms - 1)
    mean_square = left / freedom if freedom else math.nan
    shares = [
        Share(
            name,
            fraction,
            _over(squares, total),
            _over(squares - df * mean_square, total + mean_square),
            math.sqrt(squares / values.size),
        )
        for name, squares, df in parts
    ]
    rest = Share(RESIDUAL, fraction, _over(left, total), math.nan, math.sqrt(left / values.size))
    return [*shares, rest]


def _effects(values: Floats, factors: Sequence[str]) -> Iterator[tuple[str, float, int]]:
    """Yield name, sum of squares and degrees of freedom."""
    for order in (1, 2):
        for chosen in itertools.combinations(range(len(factors)), order):
            name = " x ".join(factors[i] for i in chosen)
            yield name, *_effect(values, [i + 1 for i in chosen])
    axes = range(1, len(factors) + 1)
    sizes = range(3, len(factors) + 1)
    higher = [_effect(values, c) for size in sizes for c in itertools.combinations(axes, size)]
    if higher:
        yield HIGHER, sum(squares for squares, _ in higher), sum(df for _, df in higher)


def _effect(values: Floats, axes: Sequence[int]) -> tuple[float, int]:
    """Sum of squares of one effect: the means over all other axes, centered along its own."""
    part = values.mean(axis=tuple(set(_axes(values)) - set(axes)), keepdims=True)
    for axis in axes:
        part = part - part.mean(axis=axis, keepdims=True)
    freedom = math.prod(values.shape[axis] - 1 for axis in axes)
    return float((part**2).sum()) * values.size / part.size, freedom


def _axes(values: Floats) -> tuple[int, ...]:
    return tuple(range(values.ndim))


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
