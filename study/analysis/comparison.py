"""Arms of one or several studies side by side, each against the reference it has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from study.analysis.arm_scores import ScorePool
from study.analysis.paired import (
    CorrectedT,
    PairedDifference,
    estimate_difference,
    estimate_level,
    macro_weights,
)
from study.analysis.verdicts import Verdict, adjust_holm, judge
from study.errors import InputError
from study.metrics import density_fifths
from study.planning.contrasts import count_models, find_reference_arms
from study.planning.trials import Arm
from study.results.summary import ArmSummary, summarize

Baseline = Mapping[str, str]
"""Words of an arm by the column they stand in, for example ``{"features": "mordred"}``."""


@dataclass(frozen=True)
class PairedComparison:
    """An arm against its reference.

    Attributes
    ----------
    study : str
        Of the reference.
    reference : Arm
    macro, sparse : PairedDifference
        In AUROC over all labels, and over the sparsest fifth.
    verdict : Verdict
        Of `macro`, after Holm over all rows of the comparison.
    equal_size : bool
        Whether both average the same number of models.
    """

    study: str
    reference: Arm
    macro: PairedDifference
    sparse: PairedDifference
    verdict: Verdict
    equal_size: bool


@dataclass(frozen=True)
class ArmComparison:
    """One arm of a comparison.

    Attributes
    ----------
    study : str
    summary : ArmSummary
    level : CorrectedT or None
        Macro AUROC with the interval of the corrected t; None without trials.
    rival : PairedComparison or None
        None for a reference, and where no trial is shared with one.
    version : str
        What made the trials of the arm, and those of its reference.
    """

    study: str
    summary: ArmSummary
    level: CorrectedT | None
    rival: PairedComparison | None
    version: str = ""


def compare_arms(
    pools: Sequence[ScorePool], baseline: Baseline | None = None
) -> list[ArmComparison]:
    """Compare every arm with its reference, paired on the same folds and seeds.

    Parameters
    ----------
    pools : sequence of ScorePool
    baseline : mapping, optional
        Words of the one arm that all others are compared with, at the same fraction unless it
        names one; it may be of another study of the same table, folds and version. Without it the
        reference is the first MLP head with the same features, fraction and numbers.

    Raises
    ------
    InputError
        The baseline is no arm, or several.
    """
    rows = [(pool, arm) for pool in pools for arm in pool.arms]
    if baseline is None:
        pairs = [pair for pool in pools for pair in _references(pool)]
    else:
        pairs = [_baseline(arm, pool, pools, baseline) for pool, arm in rows]
    measured = [
        differences(pool, arm, *pair) if pair else None
        for (pool, arm), pair in zip(rows, pairs, strict=True)
    ]
    adjusted = iter(adjust_holm([each[0].p for each in measured if each]))
    summaries = {pool.name: _summaries(pool) for pool in pools}
    found = []
    for (pool, arm), pair, both in zip(rows, pairs, measured, strict=True):
        rope = pool.spec.analysis.rope
        rival = _rival(arm, pair, both, next(adjusted), rope) if pair and both else None
        summary, version = summaries[pool.name][arm.id], str(pool.version or "")
        found.append(ArmComparison(pool.name, summary, _level(pool, arm), rival, version))
    return found


def differences(
    pool: ScorePool, arm: Arm, home: ScorePool, reference: Arm
) -> tuple[PairedDifference, PairedDifference] | None:
    """Return the gain of an arm over a reference, over all labels and over the sparsest fifth.

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
        None if no trial of the arm has the seed, repeat and fold of one of the reference.
    """
    shared = pool.keys(arm) & home.keys(reference)
    if not shared:
        return None
    sides = pool.arm(arm, shared), home.arm(reference, shared)
    fifths = density_fifths(pool.positives)
    last = fifths == fifths.max()
    weights = macro_weights(len(pool.positives)), np.where(last, 1 / last.sum(), 0.0)
    rope = pool.spec.analysis.rope
    macro, sparse = (estimate_difference(*sides, pool.groups, each, rope) for each in weights)
    return macro, sparse


def _rival(
    arm: Arm,
    pair: tuple[ScorePool, Arm],
    both: tuple[PairedDifference, PairedDifference],
    p_holm: float,
    rope: float,
) -> PairedComparison:
    (home, reference), (macro, sparse) = pair, both
    equal = count_models(arm) == count_models(reference)
    return PairedComparison(home.name, reference, macro, sparse, judge(macro, p_holm, rope), equal)


def _summaries(pool: ScorePool) -> dict[str, ArmSummary]:
    results = [result for trials in pool.results.values() for result in trials]
    made = summarize(pool.arms, results, pool.positives, pool.plan.per_arm)
    return {summary.arm.id: summary for summary in made}


def _references(pool: ScorePool) -> list[tuple[ScorePool, Arm] | None]:
    """Return the arm that each arm is compared with, and its pool, without a baseline."""
    all_scores, arms = find_reference_arms(pool.arms), {arm.id: arm for arm in pool.arms}
    return [(pool, arms[all_scores[arm.id]]) if arm.id in all_scores else None for arm in pool.arms]


def _baseline(
    arm: Arm, pool: ScorePool, pools: Sequence[ScorePool], baseline: Baseline
) -> tuple[ScorePool, Arm] | None:
    """Return the baseline of an arm, and the pool it is in."""
    wanted = {"fraction": f"{arm.fraction:g}", **baseline}
    alike = [each for each in pools if each.can_pair(pool)]
    matches = [(p, c) for p in alike for c in p.arms if _has(p, c, wanted)]
    distinct = {c.id for _, c in matches}
    if len(distinct) > 1:
        raise InputError(
            f"the baseline {_written(wanted)} stands for {len(distinct)} arms: "
            f"{'; '.join(sorted({str(c) for _, c in matches}))}; name more of its columns"
        )
    if not matches and not any(_has(p, c, baseline) for p in pools for c in p.arms):
        raise InputError(
            f"the baseline {_written(baseline)} is no arm of {', '.join(p.name for p in pools)}; "
            "columns: study, features, technique, fusion, partition, fraction; words: the table's"
        )
    return matches[0] if matches and arm.id not in distinct else None


def _has(pool: ScorePool, arm: Arm, words: Baseline) -> bool:
    params = {"study": pool.name, **arm.params()}
    return all(params.get(column) == word for column, word in words.items())


def _written(words: Baseline) -> str:
    return ",".join(f"{column}={word}" for column, word in words.items())


def _level(pool: ScorePool, arm: Arm) -> CorrectedT | None:
    if not pool.results.get(arm.id):
        return None
    return estimate_level(pool.arm(arm), pool.groups, macro_weights(len(pool.positives)))[0]
