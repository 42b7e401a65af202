"""The power of a study: the smallest difference that each contrast can detect.

Before there are results, the standard error of a paired difference in macro AUROC is taken from
a measurement: 4,983 molecules x 138 labels, closed-form models and small networks, 5 folds with 1
and with 5 repeats. The pooled influence curve gave these standard errors:

=========================================  ============  ============
pair                                       1 x 5 folds   5 x 5 folds
=========================================  ============  ============
alike: two models on the same features     0.00056       0.00051
unlike: models on other features           0.00155       0.00139
=========================================  ============  ============

and the score of a network on one fold had a standard deviation of 0.0015 over seeds. For other
numbers of repeats the variance is interpolated as ``floor + rest / repeats``. Variances are
inversely proportional to the number of molecules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from study.config.contrasts import POWER
from study.planning.contrasts import Contrast
from study.planning.plan import Plan
from study.preview.prior_results import PriorResults, PriorTrial

Kind = Literal["alike", "unlike"]
MEASURED_MOLECULES = 4_983
SEED_DEVIATION = 0.0015
ERRORS: Mapping[Kind, tuple[float, float]] = {
    "alike": (0.00056, 0.00051),
    "unlike": (0.00155, 0.00139),
}
"""Standard errors with one and with five repeats of five folds, from the table above."""
MAX_REPEATS = 20


@dataclass(frozen=True)
class DetectableEffect:
    """The minimum detectable effect of a contrast, at power 0.8 and the 5 % level.

    Attributes
    ----------
    contrast : Contrast
    smallest : float
        2.8 standard errors, in AUROC.
    source : {'measured', 'alike', 'unlike'}
        Whether the standard error is from a finished fold of both arms, or from the table above.
    """

    contrast: Contrast
    smallest: float
    source: Literal["measured", "alike", "unlike"]


def estimate_detectable_effects(
    contrasts: Iterable[Contrast], plan: Plan, molecules: int, prior: PriorResults | None = None
) -> list[DetectableEffect]:
    """Return the detectable effect of every contrast, for the folds and seeds of a plan.

    Parameters
    ----------
    contrasts : iterable of Contrast
    plan : Plan
    molecules : int
        Number of molecules in the data set.
    prior : PriorResults, optional
        Finished trials. If both arms have a trial on the same fold, the standard error of their
        difference is used.
    """
    trials = prior.trials if prior else {}
    by_kind = {kind: compute_table_error(kind, plan, molecules) for kind in ERRORS}
    effects = []
    for contrast in contrasts:
        kind = classify_contrast(contrast)
        sides = trials.get(contrast.arm.id), trials.get(contrast.reference.id)
        error = _estimate_from_fold(sides, kind, plan, molecules)
        if error is None:
            effects.append(DetectableEffect(contrast, POWER * by_kind[kind], kind))
        else:
            effects.append(DetectableEffect(contrast, POWER * error, "measured"))
    return effects


def classify_contrast(contrast: Contrast) -> Kind:
    """Return 'alike' for two arms with the same features and training fraction."""
    arm, reference = contrast.arm, contrast.reference
    same = [f.key for f in arm.features] == [f.key for f in reference.features]
    return "alike" if same and arm.fraction == reference.fraction else "unlike"


def compute_table_error(kind: Kind, plan: Plan, molecules: int) -> float:
    """Return the standard error of a difference between two networks, from the table above."""
    variance = _compute_molecule_variance(kind, plan.repeats) + _compute_seed_variance(plan)
    return math.sqrt(variance * MEASURED_MOLECULES / molecules)


def _estimate_from_fold(
    sides: tuple[PriorTrial | None, PriorTrial | None], kind: Kind, plan: Plan, molecules: int
) -> float | None:
    """Return the standard error over all folds, from one fold of both arms; None without one."""
    arm, reference = sides
    error = arm.paired_error(reference) if arm and reference else None
    if error is None:
        return None
    # k folds test k times as many molecules as one; further repeats test the same ones again.
    repeated = _compute_molecule_variance(kind, plan.repeats) / _compute_molecule_variance(kind, 1)
    seeds = _compute_seed_variance(plan) * MEASURED_MOLECULES / molecules
    return math.sqrt(error**2 / plan.folds * repeated + seeds)


def _compute_molecule_variance(kind: Kind, repeats: int) -> float:
    """Return the variance over draws of molecules, interpolated between the table's columns."""
    once, five = (error**2 for error in ERRORS[kind])
    floor = (5 * five - once) / 4
    return floor + (once - floor) / repeats


def _compute_seed_variance(plan: Plan) -> float:
    """Return the variance over seeds of the difference of two networks."""
    return 2 * SEED_DEVIATION**2 / plan.trials_per_arm


def find_repeats_needed(
    effect: DetectableEffect, plan: Plan, molecules: int, limit: float
) -> int | None:
    """Return the fewest repeats that detect an effect of `limit`; None if `MAX_REPEATS` do not."""
    kind = classify_contrast(effect.contrast)
    current = compute_table_error(kind, plan, molecules)
    for repeats in range(plan.repeats + 1, MAX_REPEATS + 1):
        error = compute_table_error(kind, replace(plan, repeats=repeats), molecules)
        if effect.smallest * error / current <= limit:
            return repeats
    return None


def group_effects(
    effects: Sequence[DetectableEffect],
) -> dict[tuple[str, str], list[DetectableEffect]]:
    """Group effects by family and source, in the order of the file."""
    groups: dict[tuple[str, str], list[DetectableEffect]] = {}
    for effect in effects:
        groups.setdefault((effect.contrast.family, effect.source), []).append(effect)
    return groups
