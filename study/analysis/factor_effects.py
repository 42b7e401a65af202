"""What the factors of a grid are worth: shares of variance, marginal means, interactions.

A full grid is balanced, so the ordinary sums of squares are the exact functional analysis of
variance; no forest is needed. Fusion is undefined for one modality: where a study has arms of
several modalities, the effects are about those (`shapley` is about the single ones too).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.anova import Share, decompose
from study.analysis.arm_scores import Arm
from study.analysis.bootstrap import common_arms
from study.analysis.factor_grid import Grid, combinations, grid_of
from study.analysis.influence import Floats
from study.analysis.mixed_model import (
    Interaction,
    MainEffects,
    Marginal,
    Trials,
    fit_main_effects,
    interactions,
    marginals,
)
from study.analysis.study_analysis import Evidence
from study.planning.trials import Cell

__all__ = ["Effects", "Interaction", "Marginal", "Share", "factor_effects"]

MOST = 0.5
"""Share of the arms that a full part must hold to stand for the grid."""


@dataclass(frozen=True)
class Effects:
    """Factor effects of a study.

    Attributes
    ----------
    shares : tuple of Share
        Pooled first, then within each fraction.
    marginals : tuple of Marginal
    interactions : tuple of Interaction
    complete : bool
        Whether every combination of the levels has all its trials.
    note : str
        Which arms this is about, what was left out, and the method.
    """

    shares: tuple[Share, ...]
    marginals: tuple[Marginal, ...]
    interactions: tuple[Interaction, ...]
    complete: bool
    note: str


def factor_effects(evidence: Evidence) -> Effects:
    """Return the effects of the factors of a study on the macro AUROC.

    A full grid gives exact shares. Of one with gaps the largest full part does, if it holds at
    least half of the arms and two levels of every factor; otherwise a mixed model of the main
    effects is fitted to all trials. `Effects.note` says which.
    """
    planned, cells = _cells(evidence)
    if len(cells) < 2:
        return Effects((), (), (), True, "fewer than two arms: nothing to compare")
    whole = grid_of(cells)
    part = whole.largest_full()
    arms = common_arms(evidence, [part.cells[levels] for levels in combinations(part)])
    trials = evidence.record.plan.per_cell
    complete = (
        whole.full
        and len(cells) == planned
        and all(len(evidence.arms[cell.id].keys) == trials for cell in cells)
    )
    about = f"{_about(cells)}, {len(cells)} of {planned} arms"
    if not arms or not _stands(part, whole):
        return _modelled(evidence, whole, about)
    left = "; ".join([about, *_left_out(whole, part), _shared(len(arms[0].keys), trials)])
    return _exact(evidence, part, arms, complete, left)


def _cells(evidence: Evidence) -> tuple[int, list[Cell]]:
    """Planned number, and those with a trial, of the arms of several modalities, else of all."""
    planned = evidence.record.plan.cells
    several = [cell for cell in planned if len(cell.features) > 1] or list(planned)
    return len(several), [cell for cell in several if cell.id in evidence.arms]


def _stands(part: Grid, whole: Grid) -> bool:
    kept = all(len(levels) > 1 for levels in part.levels)
    return kept and len(part.cells) >= MOST * len(whole.cells)


def _exact(
    evidence: Evidence, grid: Grid, arms: Sequence[Arm], complete: bool, note: str
) -> Effects:
    keys, sizes = arms[0].keys, [len(levels) for levels in grid.levels]
    flat = np.stack([arm.values(evidence.weights) for arm in arms], axis=1)
    values: Floats = flat.reshape(len(keys), *sizes)
    means = dict(zip(combinations(grid), flat.mean(axis=0).tolist(), strict=True))
    return Effects(
        shares=tuple(_shares(values, grid)),
        marginals=tuple(marginals(values, grid, keys)),
        interactions=tuple(interactions(grid, means)),
        complete=complete,
        note=f"exact analysis of variance, split absorbed; {note}",
    )


def _shares(values: Floats, grid: Grid) -> Iterator[Share]:
    """Yield the pooled shares, then those within each fraction."""
    yield from decompose(values, grid.factors, None)
    if "fraction" in grid.factors:
        axis = grid.factors.index("fraction")
        others = [factor for factor in grid.factors if factor != "fraction"]
        for i, level in enumerate(grid.levels[axis]):
            yield from decompose(np.take(values, i, axis=axis + 1), others, float(level))


def _modelled(evidence: Evidence, grid: Grid, about: str) -> Effects:
    """Effects from a mixed model of all trials."""
    trials = _trials(evidence, grid)
    pooled = fit_main_effects(trials)
    means = {key: evidence.arms[cell.id].level for key, cell in grid.cells.items()}
    said = "main effects only" if pooled else "no fit: factors that cannot be told apart"
    return Effects(
        shares=tuple(_modelled_shares(trials, pooled)),
        marginals=tuple(pooled.marginals()) if pooled else (),
        interactions=tuple(interactions(grid, means)),
        complete=False,
        note=f"the grid is incomplete: mixed model, auroc ~ factors + (1 | split), {said}; {about}",
    )


def _modelled_shares(trials: Trials, pooled: MainEffects | None) -> Iterator[Share]:
    yield from pooled.shares(None) if pooled else ()
    factors = trials.grid.factors
    if "fraction" in factors and len(factors) > 1:
        axis = factors.index("fraction")
        for level in trials.grid.levels[axis]:
            within = fit_main_effects(trials.of(axis, level))
            yield from within.shares(float(level)) if within else ()


def _trials(evidence: Evidence, grid: Grid) -> Trials:
    arms = [(levels, evidence.arms[cell.id]) for levels, cell in grid.cells.items()]
    return Trials(
        grid,
        tuple(levels for levels, arm in arms for _ in arm.keys),
        tuple(key for _, arm in arms for key in arm.keys),
        np.concatenate([arm.values(evidence.weights) for _, arm in arms]),
    )


def _about(cells: Sequence[Cell]) -> str:
    wide = sum(len(cell.features) > 1 for cell in cells)
    return "arms of several modalities" if wide == len(cells) else "arms of one modality"


def _left_out(whole: Grid, part: Grid) -> list[str]:
    """Say which levels a full part lacks."""
    if whole.full:
        return []
    levels = zip(whole.factors, whole.levels, part.levels, strict=True)
    gone = [f"{name} {x}" for name, old, new in levels for x in old if x not in new]
    return [
        f"the grid is incomplete: its largest full part, {len(part.cells)} arms, "
        f"without {', '.join(gone)}"
    ]


def _shared(keys: int, trials: int) -> str:
    return f"{keys} trials an arm" if keys == trials else f"the {keys} of {trials} trials shared"
