"""A short pilot: how fast this machine is at the cheapest and the dearest arm of a study."""

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
    encoder_seconds,
    head_seconds,
    joint_seconds,
    training_part,
)
from study.runner.prepare import prepare

EPOCHS = 2
"""Epochs of a pilot: its scores mean nothing, its seconds do."""


@dataclass
class _Clock:
    """Measured and expected seconds of heads, and of encoders by modality word."""

    heads: list[tuple[float, float]] = field(default_factory=list)
    encoders: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def times(self, arms: int, table: tuple[int, int]) -> MeasuredTimes:
        ratios = {word: _ratio(pairs) for word, pairs in self.encoders.items()}
        source = f"a pilot: {EPOCHS} epochs of one fold of {arms} arms"
        return MeasuredTimes(heads=_ratio(self.heads), encoders=ratios, source=source, table=table)


def run_pilot(spec: StudySpec) -> MeasuredTimes:
    """Train the cheapest and the dearest arm on one fold for a few epochs.

    The data set, the split and the features are made, and kept where a launch looks for them;
    encoders, embeddings and results are thrown away.

    Raises
    ------
    InputError
        The study cannot be prepared, or a molecule cannot be represented.
    StudyError
        A training broke down.
    """
    study = prepare(spec)
    arms = cheapest_and_dearest(study.plan, len(study.data.dataset))
    clock, threads = _Clock(), max(1, int(spec.run.cpus_per_trial))
    with TemporaryDirectory(prefix="pilot-") as folder:
        inputs = _beside(study.data, Path(folder))
        for arm in arms:
            _time(Trial(_short(arm), 0, 0, spec.seeds[0]), study.plan, inputs, clock, threads)
    data = study.data.dataset
    return clock.times(len(arms), (len(data), len(data.label_names)))


def cheapest_and_dearest(plan: Plan, molecules: int) -> list[Arm]:
    """Return the arm that is expected to be the cheapest, and the dearest if it is another."""
    train = training_part(plan, molecules)

    def cost(arm: Arm) -> float:
        own = [f for f in arm.features if f.choice.resolved == "finetune"]
        tuned = (encoder_seconds(f, f.choice.training, arm.fraction * train) for f in own)
        return head_seconds(arm, train) + sum(joint_seconds(arm, train).values()) + sum(tuned)

    trained = [arm for arm in plan.arms if arm.technique != "independent_mean"]
    found = {arm.id: arm for arm in (min(trained, key=cost), max(trained, key=cost))}
    return [*found.values()]


def _beside(inputs: StudyData, folder: Path) -> StudyData:
    """Share the features of a study, and nothing else."""
    return StudyData(inputs.dataset, inputs.split, folder, inputs.features_place)


def _short(arm: Arm) -> Arm:
    """Return an arm that trains, and whose encoders train, for a few epochs in one process."""
    features = tuple(
        NamedModality(f.name, f.choice.model_copy(update={"training": _few(f.choice.training)}))
        for f in arm.features
    )
    return replace(arm, features=features, training=_few(arm.training), search=None)


def _few(numbers: TrainingConfig) -> TrainingConfig:
    epochs = min(EPOCHS, numbers.epochs)
    return numbers.model_copy(update={"epochs": epochs, "workers": 1, "freeze_epochs": 0})


def _time(trial: Trial, plan: Plan, inputs: StudyData, clock: _Clock, threads: int) -> None:
    """Run the encoder jobs of a trial, then the trial."""
    from study.training.distributed import torch_settings
    from study.training.encoders import run_encoder_job  # torch: only a pilot trains
    from study.training.trial import run_trial

    arm, train = trial.arm, training_part(plan, len(inputs.dataset))
    for feature in arm.features:
        _featurize(feature, inputs)
    with torch_settings(threads):
        for feature in arm.features:
            job = encoder_job_for(feature, trial)
            if job is None:
                continue
            started = time.perf_counter()
            inputs.embedding_store.put(inputs.job_id(job), run_encoder_job(job, inputs))
            if feature.choice.resolved == "finetune":
                seconds = encoder_seconds(feature, feature.choice.training, arm.fraction * train)
                pair = (time.perf_counter() - started, seconds / STOPPED_AT)
                clock.encoders[feature.choice.name].append(pair)
        seconds = run_trial(trial, inputs).seconds
    head, joint = head_seconds(arm, train) / STOPPED_AT, joint_seconds(arm, train)
    if not joint:
        clock.heads.append((seconds, head))
    for word, expected in joint.items():
        share = expected / sum(joint.values())
        clock.encoders[word].append((share * max(0.0, seconds - head), expected / STOPPED_AT))


def _featurize(feature: NamedModality, inputs: StudyData) -> None:
    from modalities import ModalityError

    try:
        inputs.features(feature.choice)
    except ModalityError as error:
        raise InputError(f"modality '{feature.name}': {error}") from error


def _ratio(pairs: list[tuple[float, float]]) -> float:
    """Measured over expected seconds; 1 where nothing was measured."""
    expected = sum(each for _, each in pairs)
    return sum(measured for measured, _ in pairs) / expected if expected else 1.0
