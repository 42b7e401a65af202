"""Comparison of the arms of one or several studies, each with its reference arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.arm_scores import ScorePool
from study.analysis.paired import (
    CorrectedT,
    PairedDifference,
    build_macro_weights,
    estimate_difference,
    estimate_level,
)
from study.analysis.verdicts import Verdict, adjust_holm, judge
from study.errors import InputError
from study.metrics import density_fifths
from study.planning.contrasts import count_models, find_reference_arms
from study.planning.trials import Arm
from study.results.summary import ArmSummary, summarize

Baseline = Mapping[str, str]
"""Values of an arm by table column, for example ``{"features": "mordred"}``."""


@dataclass(frozen=True)
class PairedComparison:
    """Paired comparison of an arm with its reference.

    Attributes
    ----------
    study : str
        Study of the reference arm.
    reference : Arm
    macro, sparse : PairedDifference
        Difference in AUROC over all labels, and over the sparsest fifth of the labels.
    verdict : Verdict
        Verdict on `macro`, after Holm adjustment over all rows of the comparison.
    equal_size : bool
        Whether both arms average the same number of models.
    """

    study: str
    reference: Arm
    macro: PairedDifference
    sparse: PairedDifference
    verdict: Verdict
    equal_size: bool


@dataclass(frozen=True)
class ArmComparison:
    """One row of a comparison: an arm, its level and its comparison with the reference.

    Attributes
    ----------
    study : str
    summary : ArmSummary
    level : CorrectedT or None
        Macro AUROC with the interval of the corrected t; None without trials.
    paired : PairedComparison or None
        None if the arm is a reference or shares no trial with its reference.
    version : str
        Version that produced the trials of the arm and of its reference.
    """

    study: str
    summary: ArmSummary
    level: CorrectedT | None
    paired: PairedComparison | None
    version: str = ""


def compare_arms(
    pools: Sequence[ScorePool], baseline: Baseline | None = None
) -> list[ArmComparison]:
    """Compare every arm with its reference, paired on the same folds and seeds.

    Parameters
    ----------
    pools : sequence of ScorePool
    baseline : mapping, optional
        Column values of the one arm that all others are compared with, at the same fraction
        unless it names one. It may belong to another study with the same data set, folds and
        version. Default: the first MLP head with the same features, fraction and training.

    Raises
    ------
    InputError
        The baseline matches no arm, or several.
    """
    rows = [(pool, arm) for pool in pools for arm in pool.arms]
    if baseline is None:
        references = [reference for pool in pools for reference in _find_references(pool)]
    else:
        references = [_find_baseline(arm, pool, pools, baseline) for pool, arm in rows]
    measured = [
        estimate_gains(pool, arm, *reference) if reference else None
        for (pool, arm), reference in zip(rows, references, strict=True)
    ]
    adjusted = iter(adjust_holm([gains[0].p for gains in measured if gains]))
    summaries = {pool.name: _summarize(pool) for pool in pools}
    comparisons = []
    for (pool, arm), reference, gains in zip(rows, references, measured, strict=True):
        rope = pool.spec.analysis.rope
        paired = None
        if reference and gains:
            paired = _build_paired(arm, reference, gains, next(adjusted), rope)
        summary, version = summaries[pool.name][arm.id], str(pool.version or "")
        level = _estimate_level(pool, arm)
        comparisons.append(ArmComparison(pool.name, summary, level, paired, version))
    return comparisons


def estimate_gains(
    pool: ScorePool, arm: Arm, home: ScorePool, reference: Arm
) -> tuple[PairedDifference, PairedDifference] | None:
    """Return the gain of an arm over a reference on all labels and on the sparsest fifth.

    Parameters
    ----------
    pool : ScorePool
    arm : Arm
        An arm of `pool`.
    home : ScorePool
    reference : Arm
        An arm of `home`.

    Returns
    -------
    tuple of PairedDifference, or None
        None if no trial of the arm shares seed, repeat and fold with a trial of the reference.
    """
    shared = pool.keys(arm) & home.keys(reference)
    if not shared:
        return None
    sides = pool.arm(arm, shared), home.arm(reference, shared)
    fifths = density_fifths(pool.positives)
    last = fifths == fifths.max()
    weights = build_macro_weights(len(pool.positives)), np.where(last, 1 / last.sum(), 0.0)
    rope = pool.spec.analysis.rope
    macro, sparse = (estimate_difference(*sides, pool.groups, w, rope) for w in weights)
    return macro, sparse


def _build_paired(
    arm: Arm,
    home_and_reference: tuple[ScorePool, Arm],
    gains: tuple[PairedDifference, PairedDifference],
    p_holm: float,
    rope: float,
) -> PairedComparison:
    (home, reference), (macro, sparse) = home_and_reference, gains
    equal = count_models(arm) == count_models(reference)
    return PairedComparison(home.name, reference, macro, sparse, judge(macro, p_holm, rope), equal)


def _summarize(pool: ScorePool) -> dict[str, ArmSummary]:
    results = [result for trials in pool.results.values() for result in trials]
    summaries = summarize(pool.arms, results, pool.positives, pool.plan.trials_per_arm)
    return {summary.arm.id: summary for summary in summaries}


def _find_references(pool: ScorePool) -> list[tuple[ScorePool, Arm] | None]:
    """Return the default reference of each arm and its pool, or None for a reference."""
    all_scores, arms = find_reference_arms(pool.arms), {arm.id: arm for arm in pool.arms}
    return [(pool, arms[all_scores[arm.id]]) if arm.id in all_scores else None for arm in pool.arms]


def _find_baseline(
    arm: Arm, pool: ScorePool, pools: Sequence[ScorePool], baseline: Baseline
) -> tuple[ScorePool, Arm] | None:
    """Return the pool and the arm that `baseline` selects; None for the baseline arm itself."""
    wanted = {"fraction": f"{arm.fraction:g}", **baseline}
    candidates = [candidate for candidate in pools if candidate.can_pair(pool)]
    matches = [(p, c) for p in candidates for c in p.arms if _matches(p, c, wanted)]
    distinct = {c.id for _, c in matches}
    if len(distinct) > 1:
        raise InputError(
            f"the baseline {_format_baseline(wanted)} matches {len(distinct)} arms: "
            f"{'; '.join(sorted({str(c) for _, c in matches}))}; name more of its columns"
        )
    if not matches and not any(_matches(p, c, baseline) for p in pools for c in p.arms):
        raise InputError(
            f"the baseline {_format_baseline(baseline)} matches no arm of "
            f"{', '.join(p.name for p in pools)}; columns: study, features, technique, fusion, "
            "partition, fraction; values as in the comparison table"
        )
    return matches[0] if matches and arm.id not in distinct else None


def _matches(pool: ScorePool, arm: Arm, values: Baseline) -> bool:
    params = {"study": pool.name, **arm.params()}
    return all(params.get(column) == value for column, value in values.items())


def _format_baseline(values: Baseline) -> str:
    return ",".join(f"{column}={value}" for column, value in values.items())


def _estimate_level(pool: ScorePool, arm: Arm) -> CorrectedT | None:
    if not pool.results.get(arm.id):
        return None
    return estimate_level(pool.arm(arm), pool.groups, build_macro_weights(len(pool.positives)))[0]
