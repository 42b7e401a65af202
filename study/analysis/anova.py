"""Exact analysis of variance of a full grid, with the splits absorbed as blocks.

Shapes: b blocks (trials that all arms share), then one axis for each factor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.influence import Floats

HIGHER, RESIDUAL = "higher", "residual"


@dataclass(frozen=True)
class VarianceShare:
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


def decompose_variance(
    values: Floats, factors: Sequence[str], fraction: float | None
) -> list[VarianceShare]:
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
    list of VarianceShare
        Main effects, interactions of two factors, all higher ones together (with three factors
        or more), the residual. Empty without a factor; NaN where all arms score the same.
    """
    if not factors:
        return []
    trials = values - values.mean(axis=tuple(range(1, values.ndim)), keepdims=True)
    parts = list(_effects(trials, factors))
    total = float((trials**2).sum())
    left = max(0.0, total - sum(squares for _, squares, _ in parts))
    blocks, arms = len(values), values[0].size
    freedom = (blocks - 1) * (arms - 1)
    mean_square = left / freedom if freedom else math.nan
    shares = [
        VarianceShare(
            name,
            fraction,
            _over(squares, total),
            _over(squares - df * mean_square, total + mean_square),
            math.sqrt(squares / values.size),
        )
        for name, squares, df in parts
    ]
    rest = VarianceShare(
        RESIDUAL, fraction, _over(left, total), math.nan, math.sqrt(left / values.size)
    )
    return [*shares, rest]


def _effects(trials: Floats, factors: Sequence[str]) -> Iterator[tuple[str, float, int]]:
    """Yield name, sum of squares and degrees of freedom of every effect.

    They are those of the means of the arms: a model of the pairs of factors, whose residual is
    all higher interactions together.
    """
    import pandas as pd
    from statsmodels.formula.api import ols  # a second to import
    from statsmodels.stats.anova import anova_lm

    means = trials.mean(axis=0)
    columns = [f"factor{i}" for i in range(means.ndim)]
    table = pd.DataFrame(np.indices(means.shape).reshape(means.ndim, -1).T, columns=columns)
    terms = " + ".join(f"C({column})" for column in columns)
    with np.errstate(divide="ignore", invalid="ignore"):  # no residual: the F is undefined
        found = anova_lm(ols(f"auroc ~ ({terms}) ** 2", table.assign(auroc=means.ravel())).fit())
    names = [" x ".join(chosen) for k in (1, 2) for chosen in itertools.combinations(factors, k)]
    if len(factors) > 2:
        names.append(HIGHER)
    for name, squares, freedom in zip(names, found["sum_sq"], found["df"], strict=False):
        yield name, len(trials) * float(squares), round(freedom)


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
