"""The training of a pretraining, in the process that trains: a task of the executor."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modalities import FeatureStore, sha256_of
from modalities._cards import Card, keep
from modalities.pretraining import Molecules
from study.checkpoints import StoredCheckpoint
from study.course import Pace
from study.loop import train
from study.numerics import settled
from study.pretraining.course import Diary, PretrainingCourse, cosine
from study.pretraining.places import Places
from study.pretraining.spec import Numbers, PretrainingSpec
from study.pretraining.stored import StoredModality, build
from study.pretraining.telling import Epoch
from study.ranks import here
from study.storage import Storage


def pretrain(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Train and keep an encoder; ``{spec, places, card, threads, gpu}`` -> epochs.

    It goes on after the last epoch that was kept. Every process of a worker group calls this;
    the first one writes.
    """
    spec = PretrainingSpec.model_validate(payload["spec"])
    places, ranks = Places(**payload["places"]), here(gpu=payload["gpu"])
    course = course_of(spec, places)
    kept = StoredCheckpoint(Storage(str(places.checkpoints)), payload["card"]["identity"])
    diary = Diary(kept, places.diary, course)
    seed, pace = spec.training.seed, pace_of(spec.training)
    with settled(payload["threads"]), ranks.named_errors():
        history = train(course, pace, seed=seed, ranks=ranks, checkpoints=diary)
    if ranks.is_first:
        _keep(places.home, payload["card"], course, diary.epochs[history.best_epoch - 1])
    ranks.barrier()
    return {"epochs": len(history.loss)}


def pace_of(numbers: Numbers) -> Pace:
    """Return the numbers of the training loop."""
    return Pace(
        epochs=numbers.epochs,
        patience=numbers.patience,
        precision=numbers.precision,
        schedule=partial(cosine, numbers.warmup),
    )


def course_of(spec: PretrainingSpec, places: Places) -> PretrainingCourse:
    """Build encoder, task and examples from the file's numbers and the molecules laid out."""
    table = json.loads(places.molecules.read_text(encoding="utf-8"))
    molecules = Molecules(tuple(table["smiles"]), tuple(table["names"]))
    modality, objective = build(spec.modality), build(spec.objective)
    features = FeatureStore(Path(places.features)).load(modality, molecules.smiles)
    held_out = np.array(table["held_out"], dtype=np.int64)
    training = np.setdiff1d(np.arange(len(molecules)), held_out)
    encoder = modality.encoder(seed=spec.training.seed)
    encoder.fit(features, training)
    return PretrainingCourse(
        model=objective.model(encoder, seed=spec.training.seed),
        objective=objective,
        examples=objective.prepare(StoredModality(modality, features), molecules),
        training=training,
        held_out=held_out,
        numbers=spec.training,
    )


def _keep(folder: Path, begun: Mapping[str, Any], course: PretrainingCourse, best: Epoch) -> None:
    """Write the encoder's weights and the card, now that it can be filled in."""
    weights = _bytes(course.model.get_submodule("encoder"))
    measures = {
        name: None if math.isnan(value) else value
        for name, value in best.items()
        if name != "epoch"
    }
    card = Card(
        **begun,
        measures=measures,
        epochs=int(best["epoch"]),
        sha256=sha256_of(weights),
    )
    keep(folder, weights, card)


def _bytes(encoder: nn.Module) -> bytes:
    """Return the file of a state dict; copies, so that no view drags a larger tensor along."""
    state = {name: values.detach().cpu().clone() for name, values in encoder.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
