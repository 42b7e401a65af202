"""What a study will be able to tell: the smallest difference that each contrast resolves.

Before there are results, the error of a paired difference in macro AUROC is taken from a
measurement: 4,983 molecules x 138 labels, closed-form models and small networks, 5 folds by 1 and
by 5 repeats. The pooled influence curve gave these standard errors:

=========================================  ============  ============
pair                                       1 x 5 folds   5 x 5 folds
=========================================  ============  ============
alike: two models on the same features     0.00056       0.00051
unlike: models on other features           0.00155       0.00139
=========================================  ============  ============

and a seed moved a network by 0.0015 on one fold. Between 1 and 5 repeats the variance is
interpolated as ``floor + rest / repeats``; all of it goes with one over the molecules.
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
"""Standard errors with one and with five repeats of five folds."""
MOST_REPEATS = 20


@dataclass(frozen=True)
class DetectableEffect:
    """The minimum detectable effect of a contrast: seen in 4 of 5 studies at the 5 % level.

    Attributes
    ----------
    contrast : Contrast
    smallest : float
        2.8 standard errors, in AUROC.
    source : {'measured', 'alike', 'unlike'}
        A finished fold of both arms, or the table of this file.
    """

    contrast: Contrast
    smallest: float
    source: Literal["measured", "alike", "unlike"]


def estimate_detectable_effects(
    contrasts: Iterable[Contrast], plan: Plan, molecules: int, recorded: PriorResults | None = None
) -> list[DetectableEffect]:
    """Return what each contrast will resolve, with the folds, repeats and seeds of a plan.

    Parameters
    ----------
    contrasts : iterable of Contrast
    plan : Plan
    molecules : int
        Rows of the table.
    recorded : PriorResults, optional
        Finished trials: where both arms have the same fold, its influence-curve error is used.
    """
    samples = recorded.samples if recorded else {}
    by_kind = {kind: table_error(kind, plan, molecules) for kind in ERRORS}
    found = []
    for contrast in contrasts:
        kind = contrast_kind(contrast)
        sides = samples.get(contrast.arm.id), samples.get(contrast.reference.id)
        error = _measured(sides, kind, plan, molecules)
        if error is None:
            found.append(DetectableEffect(contrast, POWER * by_kind[kind], kind))
        else:
            found.append(DetectableEffect(contrast, POWER * error, "measured"))
    return found


def contrast_kind(contrast: Contrast) -> Kind:
    """Return how alike two arms are: the same features and training molecules, or not."""
    arm, reference = contrast.arm, contrast.reference
    same = [f.key for f in arm.features] == [f.key for f in reference.features]
    return "alike" if same and arm.fraction == reference.fraction else "unlike"


def table_error(kind: Kind, plan: Plan, molecules: int) -> float:
    """Return the standard error of a difference between two networks, by the table above."""
    drawn = _molecule_variance(kind, plan.repeats)
    return math.sqrt((drawn + _seed_variance(plan)) * MEASURED_MOLECULES / molecules)


def _measured(
    sides: tuple[PriorTrial | None, PriorTrial | None], kind: Kind, plan: Plan, molecules: int
) -> float | None:
    """Error from one fold of both arms: its molecules count once in each of the k folds."""
    arm, reference = sides
    error = arm.paired_error(reference) if arm and reference else None
    if error is None:
        return None
    repeated = _molecule_variance(kind, plan.repeats) / _molecule_variance(kind, 1)
    seeds = _seed_variance(plan) * MEASURED_MOLECULES / molecules
    return math.sqrt(error**2 / plan.folds * repeated + seeds)


def _molecule_variance(kind: Kind, repeats: int) -> float:
    """Variance from the draw of the molecules: through both columns of the table."""
    once, five = (error**2 for error in ERRORS[kind])
    floor = (5 * five - once) / 4
    return floor + (once - floor) / repeats


def _seed_variance(plan: Plan) -> float:
    """Two networks, each trained from another seed in every trial."""
    return 2 * SEED_DEVIATION**2 / plan.per_arm


def repeats_needed(
    foreseen: DetectableEffect, plan: Plan, molecules: int, limit: float
) -> int | None:
    """Return the fewest repeats whose smallest effect is within a limit; None: no number is."""
    kind = contrast_kind(foreseen.contrast)
    now = table_error(kind, plan, molecules)
    for repeats in range(plan.repeats + 1, MOST_REPEATS + 1):
        then = table_error(kind, replace(plan, repeats=repeats), molecules)
        if foreseen.smallest * then / now <= limit:
            return repeats
    return None


def group_contrasts(
    foreseen: Sequence[DetectableEffect],
) -> dict[tuple[str, str], list[DetectableEffect]]:
    """Group by family and source, in the order of the file."""
    groups: dict[tuple[str, str], list[DetectableEffect]] = {}
    for each in foreseen:
        groups.setdefault((each.contrast.family, each.source), []).append(each)
    return groups
