"""A pilot run: times the cheapest and the most expensive arm of a study on this machine."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from study.artifacts.embeddings import encoder_job_for
from study.artifacts.study_data import StudyData
from study.config.study import StudySpec
from study.config.training import TrainingConfig
from study.errors import InputError
from study.planning.plan import Plan
from study.planning.trials import Arm, NamedModality, Trial
from study.preview.cost import (
    STOPPED_AT,
    MeasuredTimes,
    count_training_molecules,
    estimate_encoder_seconds,
    estimate_head_seconds,
    estimate_joint_seconds,
)
from study.runner.prepare import prepare

EPOCHS = 2
"""Epochs of the trainings of a pilot; only their times are used, not their scores."""


@dataclass
class _Timings:
    """Measured and expected seconds of heads, and of encoders by modality."""

    heads: list[tuple[float, float]] = field(default_factory=list)
    encoders: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def to_measured_times(self, arms: int, table: tuple[int, int]) -> MeasuredTimes:
        ratios = {name: _compute_ratio(pairs) for name, pairs in self.encoders.items()}
        source = f"a pilot: {EPOCHS} epochs of one fold of {arms} arms"
        return MeasuredTimes(
            heads=_compute_ratio(self.heads), encoders=ratios, source=source, table=table
        )


def run_pilot(spec: StudySpec) -> MeasuredTimes:
    """Train the cheapest and the most expensive arm on one fold for a few epochs.

    The data set, the split and the features are stored where a launch finds them; encoders,
    embeddings and results are discarded.

    Raises
    ------
    InputError
        The study cannot be prepared, or a molecule cannot be featurized.
    StudyError
        A training failed.
    """
    study = prepare(spec)
    arms = select_cheapest_and_dearest(study.plan, len(study.data.dataset))
    timings, threads = _Timings(), max(1, int(spec.run.cpus_per_trial))
    with TemporaryDirectory(prefix="pilot-") as folder:
        data = _copy_without_embeddings(study.data, Path(folder))
        for arm in arms:
            trial = Trial(_shorten(arm), 0, 0, spec.seeds[0])
            _time_trial(trial, study.plan, data, timings, threads)
    dataset = study.data.dataset
    return timings.to_measured_times(len(arms), (len(dataset), len(dataset.label_names)))


def select_cheapest_and_dearest(plan: Plan, molecules: int) -> list[Arm]:
    """Return the arms with the lowest and the highest expected cost; one arm if they are equal."""
    train = count_training_molecules(plan, molecules)

    def estimate(arm: Arm) -> float:
        finetuned = [f for f in arm.features if f.config.resolved == "finetune"]
        encoders = (
            estimate_encoder_seconds(f, f.config.training, arm.fraction * train) for f in finetuned
        )
        return (
            estimate_head_seconds(arm, train)
            + sum(estimate_joint_seconds(arm, train).values())
            + sum(encoders)
        )

    trained = [arm for arm in plan.arms if arm.technique != "independent_mean"]
    arms = {arm.id: arm for arm in (min(trained, key=estimate), max(trained, key=estimate))}
    return [*arms.values()]


def _copy_without_embeddings(data: StudyData, folder: Path) -> StudyData:
    """Return the data of a study with its features but with another folder for embeddings."""
    return StudyData(data.dataset, data.split, folder, data.features_address)


def _shorten(arm: Arm) -> Arm:
    """Return an arm with few epochs, also for its encoders, in one process and without search."""
    features = tuple(
        NamedModality(
            f.name, f.config.model_copy(update={"training": _limit_epochs(f.config.training)})
        )
        for f in arm.features
    )
    return replace(arm, features=features, training=_limit_epochs(arm.training), search=None)


def _limit_epochs(settings: TrainingConfig) -> TrainingConfig:
    epochs = min(EPOCHS, settings.epochs)
    return settings.model_copy(update={"epochs": epochs, "workers": 1, "freeze_epochs": 0})


def _time_trial(trial: Trial, plan: Plan, data: StudyData, timings: _Timings, threads: int) -> None:
    """Run the encoder jobs of a trial, then the trial, and record their times."""
    # These import torch, which `study plan` without a pilot does not need.
    from study.training.distributed import torch_settings
    from study.training.encoders import run_encoder_job
    from study.training.trial import run_trial

    arm, train = trial.arm, count_training_molecules(plan, len(data.dataset))
    for feature in arm.features:
        _featurize(feature, data)
    with torch_settings(threads):
        for feature in arm.features:
            job = encoder_job_for(feature, trial)
            if job is None:
                continue
            started = time.perf_counter()
            data.embedding_store.put(data.job_id(job), run_encoder_job(job, data))
            if feature.config.resolved == "finetune":
                expected = estimate_encoder_seconds(
                    feature, feature.config.training, arm.fraction * train
                )
                pair = (time.perf_counter() - started, expected / STOPPED_AT)
                timings.encoders[feature.config.name].append(pair)
        seconds = run_trial(trial, data).seconds
    # A pilot does not stop early, so its expected times are those of all its epochs.
    head, joint = estimate_head_seconds(arm, train) / STOPPED_AT, estimate_joint_seconds(arm, train)
    if not joint:
        timings.heads.append((seconds, head))
    for modality, expected in joint.items():
        share = expected / sum(joint.values())
        measured = share * max(0.0, seconds - head)
        timings.encoders[modality].append((measured, expected / STOPPED_AT))


def _featurize(feature: NamedModality, data: StudyData) -> None:
    from modalities import ModalityError

    try:
        data.features(feature.config)
    except ModalityError as error:
        raise InputError(f"modality '{feature.name}': {error}") from error


def _compute_ratio(pairs: list[tuple[float, float]]) -> float:
    """Return measured over expected seconds; 1 if nothing was measured."""
    total = sum(expected for _, expected in pairs)
    return sum(measured for measured, _ in pairs) / total if total else 1.0
