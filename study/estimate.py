"""What a study would cost, before anything runs: counts, merged duplicates, expected time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from study.cells import Cell, Feature
from study.plan import Plan, make_plan
from study.spec import StudySpec

ASSUMED_MOLECULES = 5_000
"""Size of the table when none was built yet: the headline table has about 4,900."""
CORES = 2
"""Cores that the expected time is stated for."""
HEAD_SECONDS, ENCODER_SECONDS = 0.10, 2.0
"""Seconds of one core for 1,000 molecules and one epoch: a head on one modality's embeddings,
and an encoder in training (measured with `tests/benchmarks`; orders of magnitude)."""
STOPPED_AT = 0.4
"""Share of the allowed epochs that early stopping typically uses."""


@dataclass(frozen=True)
class Estimate:
    """Counts and rough cost of a plan.

    Attributes
    ----------
    trials : int
        Cells times repeats.
    fits : int
        Heads to train.
    jobs : int
        Encoders to load or train, each shared by all trials that need it.
    core_seconds : float
        Expected time of one core for all of it, without featurizing.
    """

    trials: int
    fits: int
    jobs: int
    core_seconds: float


def estimate(plan: Plan, molecules: int = ASSUMED_MOLECULES) -> Estimate:
    """Estimate the work of a plan for a table of so many molecules."""
    train = molecules / 1000 * (1 - 1 / plan.folds)
    heads = sum(_head_seconds(cell) for cell in plan.cells) * train * plan.per_cell
    trained, loaded = _encoders(plan.cells)
    epochs = {key: f.choice.training.epochs for key, (f, _) in trained.items()}
    encoders = sum(ENCODER_SECONDS * epochs[key] * share for key, (_, share) in trained.items())
    jobs = len(trained) * plan.per_cell + len(loaded) * len(plan.seeds)
    seconds = heads + STOPPED_AT * encoders * train * plan.per_cell
    return Estimate(len(plan.cells) * plan.per_cell, plan.fits, jobs, seconds)


def plan_text(spec: StudySpec) -> str:
    """Return what `study plan` prints."""
    plan = make_plan(spec)
    cost = estimate(plan)
    repeats = f"{plan.folds} folds x {plan.repeats} repeats x {len(plan.seeds)} seeds"
    lines = [
        f"study     {spec.name}: {spec.description}".rstrip(": "),
        f"data      {spec.data.name}, grouped by {spec.split.groups}",
        f"asked     {plan.asked:,} combinations",
        *(f"merged    {count:,}: {reason}" for reason, count in plan.merged.items()),
        *(f"added     {cell}: independent_mean needs it" for cell in plan.added),
        f"cells     {len(plan.cells):,} distinct arms",
        f"trials    {cost.trials:,} ({repeats} an arm)",
        f"fits      {cost.fits:,} heads to train; {cost.trials - cost.fits:,} averages of members",
        f"encoders  {cost.jobs:,} shared jobs (load or train once, used by every arm)",
        f"time      about {_readable(cost.core_seconds / CORES)} on {CORES} cores after "
        f"featurizing (rough; assumes {ASSUMED_MOLECULES:,} molecules)",
    ]
    return "\n".join(lines) + "\n"


def _head_seconds(cell: Cell) -> float:
    """Seconds of one core for 1,000 training molecules of the whole fold."""
    if cell.technique == "independent_mean":
        return 0.0
    joint = sum(feature.choice.resolved == "joint" for feature in cell.features)
    an_epoch = HEAD_SECONDS * len(cell.features) + ENCODER_SECONDS * joint
    return an_epoch * STOPPED_AT * cell.training.epochs * cell.fraction


def _encoders(
    cells: Iterable[Cell],
) -> tuple[dict[tuple[str, float], tuple[Feature, float]], set[str]]:
    """Return the encoders to train, by identity and fraction, and those only to load."""
    trained: dict[tuple[str, float], tuple[Feature, float]] = {}
    loaded: set[str] = set()
    for cell in cells:
        for feature in cell.features:
            if feature.choice.resolved == "finetune":
                trained[feature.key, cell.fraction] = (feature, cell.fraction)
            elif feature.choice.resolved == "frozen" and feature.choice.trainable:
                loaded.add(feature.key)
    return trained, loaded


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"
