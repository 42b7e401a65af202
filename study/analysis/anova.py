"""Exact analysis of variance of a full grid, with the splits as blocks.

Shapes: b blocks (trials that all arms share), then one axis per factor.
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
    """Share of the variance of the macro AUROC that a factor or an interaction explains.

    Attributes
    ----------
    factor : str
        ``features``, ``head``, ``fraction``, ``training.<name>``; two of them joined by `` x ``
        for an interaction; ``higher`` for all interactions of more than two; ``residual``.
    fraction : float or None
        Training fraction that the share was computed within; None if pooled over all fractions.
    share : float
        Share of the sum of squares after removal of the block effect; the shares of a fraction
        add up to 1.
    omega : float
        omega^2, the share corrected for chance; may be negative, NaN for the residual.
    sd : float
        Explained standard deviation of the AUROC.
    """

    factor: str
    fraction: float | None
    share: float
    omega: float
    sd: float


def decompose_variance(
    values: Floats, factors: Sequence[str], fraction: float | None
) -> list[VarianceShare]:
    """Decompose the variance between the trials of a full grid into factors and interactions.

    The grid is balanced, so the sums of squares of all effects are orthogonal and add up. Block
    effects are removed first. The residual is the interaction of arms and blocks, with
    (b - 1)(arms - 1) degrees of freedom.

    Parameters
    ----------
    values : ndarray of float64, (b, levels of the first factor, ...)
        Macro AUROC of every trial.
    factors : sequence of str
        Factor of each axis after the first.
    fraction : float or None
        Value of `VarianceShare.fraction` in the result.

    Returns
    -------
    list of VarianceShare
        Main effects, two-way interactions, all higher interactions together (with at least three
        factors), the residual. Empty without a factor; NaN if all arms score the same.
    """
    if not factors:
        return []
    trials = values - values.mean(axis=tuple(range(1, values.ndim)), keepdims=True)
    parts = list(_estimate_effects(trials, factors))
    total = float((trials**2).sum())
    residual = max(0.0, total - sum(squares for _, squares, _ in parts))
    blocks, arms = len(values), values[0].size
    freedom = (blocks - 1) * (arms - 1)
    mean_square = residual / freedom if freedom else math.nan
    shares = [
        VarianceShare(
            name,
            fraction,
            _divide(squares, total),
            _divide(squares - df * mean_square, total + mean_square),
            math.sqrt(squares / values.size),
        )
        for name, squares, df in parts
    ]
    rest = VarianceShare(
        RESIDUAL, fraction, _divide(residual, total), math.nan, math.sqrt(residual / values.size)
    )
    return [*shares, rest]


def _estimate_effects(trials: Floats, factors: Sequence[str]) -> Iterator[tuple[str, float, int]]:
    """Yield name, sum of squares and degrees of freedom of every effect.

    The arm means are fitted by a model with all two-way interactions; its residual is the sum of
    all higher interactions.
    """
    import pandas as pd
    from statsmodels.formula.api import ols  # takes a second to import
    from statsmodels.stats.anova import anova_lm

    means = trials.mean(axis=0)
    columns = [f"factor{i}" for i in range(means.ndim)]
    table = pd.DataFrame(np.indices(means.shape).reshape(means.ndim, -1).T, columns=columns)
    terms = " + ".join(f"C({column})" for column in columns)
    with np.errstate(divide="ignore", invalid="ignore"):  # without a residual, F is undefined
        rows = anova_lm(ols(f"auroc ~ ({terms}) ** 2", table.assign(auroc=means.ravel())).fit())
    names = [" x ".join(chosen) for k in (1, 2) for chosen in itertools.combinations(factors, k)]
    if len(factors) > 2:
        names.append(HIGHER)
    for name, squares, freedom in zip(names, rows["sum_sq"], rows["df"], strict=False):
        yield name, len(trials) * float(squares), round(freedom)


def _divide(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
