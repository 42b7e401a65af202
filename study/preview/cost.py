"""The expected cost of a study: trials, encoder jobs, time and storage."""

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
"""Size of a data set that is not built yet; the default data set has about 4,900 molecules."""
ASSUMED_WIDTH = 300
"""Width of an embedding that is not built yet; those of shipped encoders are 128 to 512."""
HEAD_SECONDS, ENCODER_SECONDS, START_SECONDS = 0.10, 3.0, 15.0
"""Seconds of one core, measured, as orders of magnitude.

To train a head on one modality's embeddings, and an encoder, each for 1,000 molecules and one
epoch; and to start a group of workers.
"""
KINDS: Mapping[str, float] = {"graph": 1.2, "iupac": 0.9, "mordred_network": 0.15, "smiles": 0.4}
"""The same as ENCODER_SECONDS for encoders that were measured with their default options."""
STOPPED_AT = 0.4
"""Share of the maximum epochs that a training with early stopping typically takes."""


@dataclass(frozen=True)
class MeasuredTimes:
    """Measured times, which replace the constants of this module.

    Attributes
    ----------
    arms : mapping of arm id to float
        Seconds of one trial of an arm.
    heads : float
        Measured over expected seconds of heads, for arms without a measured trial.
    encoders : mapping of modality to float
        Measured over expected seconds of the training of encoders.
    source : str
        Origin of the times, as printed.
    table : tuple of int, optional
        Molecules and labels of the data set that they were measured on.
    """

    arms: Mapping[str, float] = field(default_factory=dict)
    heads: float = 1.0
    encoders: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    table: tuple[int, int] | None = None


@dataclass(frozen=True)
class CostEstimate:
    """Counts and approximate cost of a plan.

    Attributes
    ----------
    trials : int
        Number of trials of all arms.
    fits : int
        Number of heads to train.
    jobs : int
        Number of encoder jobs; each is shared by all trials that need its embeddings.
    core_seconds : float
        Expected time of one core for all work except featurizing.
    by_encoder : mapping of modality to float
        The part of `core_seconds` that trains encoders.
    trainings : int
        Number of encoder jobs that train.
    trainings_alone : int
        Number of encoder trainings if trials did not share them.
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
    """Estimate the cost of a plan for a data set with this number of molecules."""
    times, train = times or MeasuredTimes(), count_training_molecules(plan, molecules)
    jobs = _list_encoder_jobs(plan.arms)
    encoders: dict[str, float] = defaultdict(float)
    for job in jobs:
        feature, fold = job.feature, job.fold_key
        if fold is not None and feature.config.resolved == "finetune":
            settings = feature.config.training
            seconds = estimate_encoder_seconds(feature, settings, fold.fraction * train)
            encoders[feature.config.name] += seconds
    for arm in plan.arms:
        for modality, seconds in estimate_joint_seconds(arm, train).items():
            encoders[modality] += seconds
    by_encoder = {
        modality: seconds * plan.trials_per_arm * times.encoders.get(modality, 1.0)
        for modality, seconds in sorted(encoders.items())
    }
    heads = (
        sum(_estimate_trial_seconds(arm, train, times) for arm in plan.arms) * plan.trials_per_arm
    )
    total = heads + sum(by_encoder.values())
    return CostEstimate(
        trials=len(plan.arms) * plan.trials_per_arm,
        fits=plan.fits,
        jobs=sum(_count_runs(job, plan) for job in jobs),
        core_seconds=total,
        by_encoder=by_encoder,
        trainings=sum(_count_runs(job, plan) for job in jobs if _is_finetuned(job.feature)),
        trainings_alone=plan.trials_per_arm
        * sum(_is_finetuned(f) for c in plan.arms for f in c.features),
    )


def _is_finetuned(feature: NamedModality) -> bool:
    """Return whether the encoder job of a feature trains the encoder."""
    return feature.config.resolved == "finetune"


def count_training_molecules(plan: Plan, molecules: int) -> float:
    """Return how many thousand molecules a fold trains on."""
    return molecules / 1000 * (1 - 1 / plan.folds)


def estimate_result_bytes(plan: Plan, molecules: int, labels: int) -> int:
    """Return the size of all trial results: scores (4 bytes) and labels (1) of test molecules."""
    passes = plan.repeats * len(plan.seeds)
    return len(plan.arms) * passes * molecules * (5 * labels + 8)


def estimate_embedding_bytes(jobs: int, molecules: int) -> int:
    """Return the size of the embeddings of a number of encoder jobs."""
    return jobs * molecules * ASSUMED_WIDTH * 4


def _estimate_trial_seconds(arm: Arm, train: float, times: MeasuredTimes) -> float:
    """Return the seconds of one trial without encoder training: measured, or else estimated."""
    if arm.technique == "independent_mean":
        return 0.0
    if arm.id in times.arms:
        return times.arms[arm.id]
    return times.heads * estimate_head_seconds(arm, train)


def estimate_joint_seconds(arm: Arm, train: float) -> Mapping[str, float]:
    """Return the seconds that a trial spends on the joint training of encoders, by modality."""
    by_modality: dict[str, float] = defaultdict(float)
    for feature in arm.features if arm.trains_encoders else ():
        if feature.config.resolved == "joint":
            seconds = estimate_encoder_seconds(feature, arm.training, arm.fraction * train)
            by_modality[feature.config.name] += seconds * _count_trial_trainings(arm)
    return by_modality


def estimate_head_seconds(arm: Arm, train: float) -> float:
    """Return the seconds of one core for the head of a trial; `train` in thousand molecules."""
    if arm.technique == "independent_mean":
        return 0.0
    molecules = _count_molecules(arm.training, train * arm.fraction)
    return HEAD_SECONDS * len(arm.features) * molecules * _count_trial_trainings(arm)


def _count_trial_trainings(arm: Arm) -> float:
    """Return the number of trainings of a trial: those of its search and the final one."""
    return count_trainings(arm.search, arm.training.epochs, STOPPED_AT)


def estimate_encoder_seconds(
    feature: NamedModality, settings: TrainingConfig, train: float
) -> float:
    """Return the seconds of one core to train an encoder on `train` thousand molecules."""
    start = START_SECONDS if settings.workers > 1 else 0.0
    per_thousand = KINDS.get(feature.config.name, ENCODER_SECONDS)
    return start + per_thousand * _count_molecules(settings, train)


def _count_molecules(settings: TrainingConfig, train: float) -> float:
    """Return how many thousand molecules a training processes in all its epochs."""
    # An epoch has at least `epoch_steps` batches, so it can pass a small training part repeatedly.
    per_epoch = max(train, settings.epoch_steps * settings.batch_size / 1000)
    return STOPPED_AT * settings.epochs * per_epoch


def _list_encoder_jobs(arms: Iterable[Arm]) -> list[EncoderJob]:
    """Return the distinct encoder jobs of one fold and seed."""
    jobs: dict[object, EncoderJob] = {}
    seen: set[object] = set()
    for arm in arms:
        key = (id(arm.features), arm.fraction, id(arm.partition))  # everything a job depends on
        if key in seen:
            continue
        seen.add(key)
        trial = Trial(arm, 0, 0, 0)
        for feature in arm.features:
            job = encoder_job_for(feature, trial)
            if job is not None:
                jobs.setdefault((feature.key, job.fold_key, str(job.label_subset)), job)
    return [*jobs.values()]


def _count_runs(job: EncoderJob, plan: Plan) -> int:
    """Return how often a job runs: for every fold and seed, for every seed, or once."""
    if job.fold_key is not None:
        return plan.trials_per_arm
    return len(plan.seeds) if job.feature.config.weights is None else 1
