"""What a study would cost, before anything runs: counts, merged duplicates, expected time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from study.cells import Cell, Feature, TrialSpec
from study.embeddings import EncoderJob, job_of
from study.numbers import Training
from study.plan import Plan, make_plan
from study.spec import StudySpec

ASSUMED_MOLECULES = 5_000
"""Size of the table when none was built yet: the headline table has about 4,900."""
CORES = 2
"""Cores that the expected time is stated for."""
HEAD_SECONDS, ENCODER_SECONDS, START_SECONDS = 0.10, 3.0, 15.0
"""Seconds of one core: a head on one modality's embeddings and an encoder in training, each for
1,000 molecules and one epoch; the start of a group of workers (measured; orders of magnitude)."""
KINDS: Mapping[str, float] = {"graph": 1.2, "iupac": 0.9, "mordred_network": 0.15, "smiles": 0.4}
"""The same of encoders that were measured, with their default options; others: the number above."""
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
    by_encoder : mapping of modality word to float
        The part of it that trains encoders.
    """

    trials: int
    fits: int
    jobs: int
    core_seconds: float
    by_encoder: Mapping[str, float] = field(default_factory=dict)


def estimate(plan: Plan, molecules: int = ASSUMED_MOLECULES) -> Estimate:
    """Estimate the work of a plan for a table of so many molecules."""
    train = molecules / 1000 * (1 - 1 / plan.folds)
    jobs = _jobs(plan.cells)
    encoders: dict[str, float] = defaultdict(float)
    for job in jobs:
        feature, place = job.feature, job.place
        if place is not None and feature.choice.resolved == "finetune":
            own = feature.choice.training
            encoders[feature.choice.word] += _encoder_seconds(feature, own, place.fraction * train)
    for cell in plan.cells:
        for feature in cell.features if cell.joint else ():
            if feature.choice.resolved == "joint":
                seconds = _encoder_seconds(feature, cell.training, cell.fraction * train)
                encoders[feature.choice.word] += seconds
    by_encoder = {word: seconds * plan.per_cell for word, seconds in sorted(encoders.items())}
    heads = sum(_head_seconds(cell, train) for cell in plan.cells) * plan.per_cell
    total = heads + sum(by_encoder.values())
    count = sum(_times(job, plan) for job in jobs)
    return Estimate(len(plan.cells) * plan.per_cell, plan.fits, count, total, by_encoder)


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
        *_crew_lines(spec, plan),
        *(
            f"training  {word}: about {_readable(seconds / CORES)} on {CORES} cores"
            for word, seconds in cost.by_encoder.items()
        ),
        f"time      about {_readable(cost.core_seconds / CORES)} on {CORES} cores after "
        f"featurizing (rough; assumes {ASSUMED_MOLECULES:,} molecules)",
    ]
    return "\n".join(lines) + "\n"


def _crew_lines(spec: StudySpec, plan: Plan) -> list[str]:
    """Say what encoders reserve, if it is more than the one process of everything else."""
    gpus = spec.run.gpus_per_worker
    each = f"{spec.run.cpus_per_trial:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
    pairs = ((feature, cell) for cell in plan.cells for feature in cell.features)
    crews = {(f.name, _workers(f, cell)) for f, cell in pairs if f.choice.trainable}
    return [
        f"reserves  {name}: {workers} x {each} for a training"
        for name, workers in sorted(crews)
        if gpus or workers > 1
    ]


def _workers(feature: Feature, cell: Cell) -> int:
    """Return how many processes run an encoder: one where it is not trained."""
    trained = {"finetune": feature.choice.training, "joint": cell.training}
    numbers = trained.get(feature.choice.resolved)
    return numbers.workers if numbers else 1


def _head_seconds(cell: Cell, train: float) -> float:
    if cell.technique == "independent_mean":
        return 0.0
    return HEAD_SECONDS * len(cell.features) * _passed(cell.training, train * cell.fraction)


def _encoder_seconds(feature: Feature, numbers: Training, train: float) -> float:
    """Seconds of one core to train an encoder on so many thousand molecules."""
    start = START_SECONDS if numbers.workers > 1 else 0.0
    return start + KINDS.get(feature.choice.word, ENCODER_SECONDS) * _passed(numbers, train)


def _passed(numbers: Training, train: float) -> float:
    """Thousands of molecules that a training goes through; passes over few are joined."""
    fewest = numbers.epoch_steps * numbers.batch_size / 1000
    return STOPPED_AT * numbers.epochs * max(train, fewest)


def _jobs(cells: Iterable[Cell]) -> list[EncoderJob]:
    """Return the distinct encoder jobs of one fold and seed."""
    jobs: dict[object, EncoderJob] = {}
    for cell in cells:
        trial = TrialSpec(cell, 0, 0, 0)
        for feature in cell.features:
            job = job_of(feature, trial)
            if job is not None:
                jobs.setdefault((feature.key, job.place, str(job.share)), job)
    return [*jobs.values()]


def _times(job: EncoderJob, plan: Plan) -> int:
    """Return how often a job runs: on every fold and seed, on every seed, or once."""
    if job.place is not None:
        return plan.per_cell
    return len(plan.seeds) if job.feature.choice.weights is None else 1


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"
