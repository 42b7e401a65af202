"""What a study would cost, before anything runs: trials, encoder jobs, time, storage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from study.artifacts.embeddings import EncoderJob, encoder_job_for
from study.config.training import TrainingConfig
from study.planning.plan import Plan
from study.planning.search_budget import count_trainings
from study.planning.trials import Arm, NamedModality, Trial

ASSUMED_MOLECULES, ASSUMED_LABELS = 5_000, 91
"""Size of the table when none was built yet: the headline table has about 4,900 molecules."""
ASSUMED_WIDTH = 300
"""Width of an embedding: known only once its encoder is built; those shipped have 128 to 512."""
HEAD_SECONDS, ENCODER_SECONDS, START_SECONDS = 0.10, 3.0, 15.0
"""Seconds of one core: a head on one modality's embeddings and an encoder in training, each for
1,000 molecules and one epoch; the start of a group of workers (measured; orders of magnitude)."""
KINDS: Mapping[str, float] = {"graph": 1.2, "iupac": 0.9, "mordred_network": 0.15, "smiles": 0.4}
"""The same of encoders that were measured, with their default options; others: the number above."""
STOPPED_AT = 0.4
"""Share of the allowed epochs that early stopping typically uses."""


@dataclass(frozen=True)
class MeasuredTimes:
    """Measured seconds, which are better than the numbers above.

    Attributes
    ----------
    arms : mapping of arm id to float
        Seconds of one trial of an arm.
    heads : float
        Measured over expected seconds of heads, for arms without a measured trial.
    encoders : mapping of modality word to float
        The same of encoders in training.
    source : str
        Where they are from, for the reader.
    table : tuple of int, optional
        Molecules and labels of the table they were measured on.
    """

    arms: Mapping[str, float] = field(default_factory=dict)
    heads: float = 1.0
    encoders: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    table: tuple[int, int] | None = None


@dataclass(frozen=True)
class CostEstimate:
    """Counts and rough cost of a plan.

    Attributes
    ----------
    trials : int
        Arms times repeats.
    fits : int
        Heads to train.
    jobs : int
        Encoders to load or train, each shared by all trials that need it.
    core_seconds : float
        Expected time of one core for all of it, without featurizing.
    by_encoder : mapping of modality word to float
        The part of it that trains encoders.
    trainings : int
        Encoder jobs that train.
    trainings_alone : int
        Encoder trainings if every trial had its own, as a run of one process a trial would.
    """

    trials: int
    fits: int
    jobs: int
    core_seconds: float
    by_encoder: Mapping[str, float] = field(default_factory=dict)
    trainings: int = 0
    trainings_alone: int = 0


def estimate_cost(
    plan: Plan, molecules: int = ASSUMED_MOLECULES, times: MeasuredTimes | None = None
) -> CostEstimate:
    """Estimate the work of a plan for a table of so many molecules."""
    times, train = times or MeasuredTimes(), training_part(plan, molecules)
    jobs = _jobs(plan.arms)
    encoders: dict[str, float] = defaultdict(float)
    for job in jobs:
        feature, place = job.feature, job.place
        if place is not None and feature.choice.resolved == "finetune":
            own = feature.choice.training
            encoders[feature.choice.name] += encoder_seconds(feature, own, place.fraction * train)
    for arm in plan.arms:
        for word, seconds in joint_seconds(arm, train).items():
            encoders[word] += seconds
    by_encoder = {
        word: seconds * plan.per_arm * times.encoders.get(word, 1.0)
        for word, seconds in sorted(encoders.items())
    }
    heads = sum(_expected(arm, train, times) for arm in plan.arms) * plan.per_arm
    total = heads + sum(by_encoder.values())
    return CostEstimate(
        trials=len(plan.arms) * plan.per_arm,
        fits=plan.fits,
        jobs=sum(_times(job, plan) for job in jobs),
        core_seconds=total,
        by_encoder=by_encoder,
        trainings=sum(_times(job, plan) for job in jobs if _trains(job.feature)),
        trainings_alone=plan.per_arm * sum(_trains(f) for c in plan.arms for f in c.features),
    )


def _trains(feature: NamedModality) -> bool:
    """Whether an encoder job of this feature trains."""
    return feature.choice.resolved == "finetune"


def training_part(plan: Plan, molecules: int) -> float:
    """Return the thousands of molecules that a fold trains on."""
    return molecules / 1000 * (1 - 1 / plan.folds)


def record_bytes(plan: Plan, molecules: int, labels: int) -> int:
    """Return the size of all records: scores (4 bytes) and labels (1) of every test molecule."""
    passes = plan.repeats * len(plan.seeds)
    return len(plan.arms) * passes * molecules * (5 * labels + 8)


def embedding_bytes(jobs: int, molecules: int) -> int:
    """Return the size of the embeddings of so many encoder jobs."""
    return jobs * molecules * ASSUMED_WIDTH * 4


def _expected(arm: Arm, train: float, times: MeasuredTimes) -> float:
    """Seconds of one trial without encoders in training: measured, else by the numbers above."""
    if arm.technique == "independent_mean":
        return 0.0
    if arm.id in times.arms:
        return times.arms[arm.id]
    return times.heads * head_seconds(arm, train)


def joint_seconds(arm: Arm, train: float) -> Mapping[str, float]:
    """Seconds by modality word of the encoders that a trial itself trains."""
    found: dict[str, float] = defaultdict(float)
    for feature in arm.features if arm.joint else ():
        if feature.choice.resolved == "joint":
            seconds = encoder_seconds(feature, arm.training, arm.fraction * train)
            found[feature.choice.name] += seconds * _trainings(arm)
    return found


def head_seconds(arm: Arm, train: float) -> float:
    """Seconds of one core for the head of a trial; `train` in thousands of molecules."""
    if arm.technique == "independent_mean":
        return 0.0
    passed = _passed(arm.training, train * arm.fraction)
    return HEAD_SECONDS * len(arm.features) * passed * _trainings(arm)


def _trainings(arm: Arm) -> float:
    """Trainings of a trial: with a search, those of its configurations and the last one."""
    return count_trainings(arm.search, arm.training.epochs, STOPPED_AT)


def encoder_seconds(feature: NamedModality, numbers: TrainingConfig, train: float) -> float:
    """Seconds of one core to train an encoder on so many thousand molecules."""
    start = START_SECONDS if numbers.workers > 1 else 0.0
    return start + KINDS.get(feature.choice.name, ENCODER_SECONDS) * _passed(numbers, train)


def _passed(numbers: TrainingConfig, train: float) -> float:
    """Thousands of molecules that a training goes through; passes over few are joined."""
    fewest = numbers.epoch_steps * numbers.batch_size / 1000
    return STOPPED_AT * numbers.epochs * max(train, fewest)


def _jobs(arms: Iterable[Arm]) -> list[EncoderJob]:
    """Return the distinct encoder jobs of one fold and seed."""
    jobs: dict[object, EncoderJob] = {}
    asked: set[object] = set()
    for arm in arms:
        what = (id(arm.features), arm.fraction, id(arm.partition))  # all that a job depends on
        if what in asked:
            continue
        asked.add(what)
        trial = Trial(arm, 0, 0, 0)
        for feature in arm.features:
            job = encoder_job_for(feature, trial)
            if job is not None:
                jobs.setdefault((feature.key, job.place, str(job.share)), job)
    return [*jobs.values()]


def _times(job: EncoderJob, plan: Plan) -> int:
    """Return how often a job runs: on every fold and seed, on every seed, or once."""
    if job.place is not None:
        return plan.per_arm
    return len(plan.seeds) if job.feature.choice.weights is None else 1
