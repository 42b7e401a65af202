"""Prepare a study: from its checked file to the data that trials read; nothing is trained."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import yaml

from fusion import FusionError
from modalities import Encoder, ModalityError
from modalities.weights.model_card import format_card_hint
from study.artifacts.study_data import StudyData, build_modality
from study.artifacts.study_folder import read_spec, write_spec
from study.config.study import StudySpec
from study.data import OdorDataset, load_or_build
from study.errors import InputError
from study.planning.contrasts import declare_contrasts
from study.planning.plan import Plan, make_plan
from study.planning.trials import NamedModality
from study.plugins.registry import Registry
from study.results.ledger import Ledger
from study.results.study_results import Study
from study.splits import Split, make_split
from study.storage.storage import Storage
from study.training.equivalence import refuse_equivalent_arms
from study.training.parameter_matching import match_parameters


def prepare(spec: StudySpec, note: Callable[[str], None] | None = None) -> Study:
    """Build the plan, data set and split of a study; writes only the cache of curated tables.

    Parameters
    ----------
    spec : StudySpec
    note : function, optional
        Called with a message about a damaged table in the cache. Default: a warning.

    Raises
    ------
    InputError
        The data, the split or the storage is not available as requested, a contrast matches no
        pair of arms, or an arm repeats another; nothing was started.
    """
    storage, plan = Storage(spec.run.storage), make_plan(spec)
    declare_contrasts(spec, plan)
    _check_modalities(plan)
    _check_partitions(plan)
    dataset = load_or_build(spec.data, storage.subfolder("cache", "datasets"), note)
    split = build_split(spec, dataset)
    data = StudyData(dataset, split, storage.subfolder("cache").address)
    refuse_equivalent_arms(plan, data)
    if spec.parameters == "matched":
        spec = match_parameters(spec, plan, data)
        plan = make_plan(spec)
    return Study(
        spec, plan, data, Ledger(storage.subfolder("ledger")), storage.subfolder(spec.name)
    )


def _check_modalities(plan: Plan) -> None:
    """Build every modality of a plan and load its weights, so that errors occur before any trial.

    Raises
    ------
    InputError
        An option is out of range, weights are missing, changed or of another network, or an
        encoder has fewer layers than are to be trained.
    """
    for feature, layers in _collect_modalities(plan):
        try:
            modality = build_modality(feature.config)
            if feature.config.weights is None and not layers:
                continue
            encoder = modality.encoder(seed=0)
        except ModalityError as error:
            hint = format_card_hint(feature.config.name, feature.config.options)
            raise InputError(f"modality '{feature.name}': {error}{hint}") from error
        for count in sorted(layers):
            _check_layers(encoder, count, feature.name)


def _check_layers(encoder: Encoder, count: int, name: str) -> None:
    from study.training.freezing import check_layers  # torch is loaded, since an encoder was built

    check_layers(encoder, count, name)


def _collect_modalities(plan: Plan) -> list[tuple[NamedModality, set[int]]]:
    """Return the modalities of a plan, each once, with the ``top_layers`` they are trained with."""
    features: dict[str, tuple[NamedModality, set[int]]] = {}
    for arm in plan.arms:
        for feature in arm.features:
            _, layers = features.setdefault(feature.key, (feature, set()))
            configs = {"finetune": feature.config.training, "joint": arm.training}
            training = configs.get(feature.config.resolved)
            if training is not None and training.top_layers is not None:
                layers.add(training.top_layers)
    return list(features.values())


def _check_partitions(plan: Plan) -> None:
    """Build every partition of a plan, so that errors in options occur before any trial."""
    for partition in {str(a.partition): a.partition for a in plan.arms if a.partition}.values():
        try:
            Registry("partition").load(partition.name)(**partition.options)
        except FusionError as error:
            raise InputError(f"partition '{partition}': {error}") from error


def write_study_folder(study: Study) -> list[str]:
    """Write the file, data set and split of a study to its folder, where workers read them.

    Returns
    -------
    list of str
        Messages about damaged files that were set aside.

    Raises
    ------
    InputError
        The storage cannot be written.
    StorageError
        The storage is full.
    """
    for storage in (study.home, study.ledger.storage):
        storage.prepare()
    messages = [*study.data.save(study.home), write_spec(study.home, study.spec)]
    return [message for message in messages if message]


def build_split(spec: StudySpec, dataset: OdorDataset) -> Split:
    """Build the split of a study, which depends on its file and data alone."""
    section = spec.split
    split = make_split(
        dataset.smiles,
        dataset.labels,
        label_names=dataset.label_names,
        dataset_digest=dataset.digest,
        scheme=section.groups,
        folds=section.folds,
        repeats=section.repeats,
        fractions=spec.fractions,
        validation=section.validation,
        seed=section.seed,
        min_positives=section.min_positives,
    )
    _check_negatives(split, dataset)
    return split


def _check_negatives(split: Split, dataset: OdorDataset) -> None:
    """Refuse a label that every molecule of a test fold has: its AUROC would be undefined."""
    for fold in split.folds:
        full = np.flatnonzero(dataset.labels[fold.test].all(axis=0))
        if len(full):
            names = ", ".join(f"'{dataset.label_names[column]}'" for column in full)
            raise InputError(
                f"fold {fold.index} of repeat {fold.repeat} has no molecule without {names}: "
                "AUROC needs positives and negatives; drop these labels or use fewer folds"
            )


_MOST_LINES = 40
_IGNORED = ("run", "description", "plugins")
"""Sections of a study file that change neither trials nor contrasts.

The content of a plug-in is part of the version of what it makes, wherever it lies.
"""


def check_unchanged(study: Study, *, extend: bool) -> str:
    """Compare a study with the file it was launched with before; return a message, or ''.

    Parameters
    ----------
    study : Study
    extend : bool
        Accept a file that adds trials and drops none.

    Raises
    ------
    InputError
        The files differ; the message shows the differences. Nothing was changed.
    """
    try:
        old = read_spec(study.home)
    except InputError as error:
        return f"{error}: it is written again from the file of this launch"
    if old is None:
        return ""
    lines = _diff(old, study.spec)
    if not lines:
        return ""
    if not extend:
        raise InputError(
            f"study '{study.spec.name}' was launched with another file:\n  "
            + "\n  ".join(_shorten(lines))
            + "\nadd --extend if this file adds trials to the same study, or give the study "
            "another name (name: in the file, or --set name=...): trials of both files run once"
        )
    _check_extension(study, old)
    return f"study '{study.spec.name}' is extended"


def _check_extension(study: Study, old: StudySpec) -> None:
    """Refuse an extension that drops trials, whose results would no longer be shown."""
    if (old.data, old.split) != (study.spec.data, study.spec.split):
        raise InputError(
            f"--extend cannot change the data or the split of study '{study.spec.name}', which "
            "would replace every trial; give the study another name (--set name=...)"
        )
    planned = {study.data.trial_id(trial) for trial in study.plan.trials()}
    before = {study.data.trial_id(t): str(t) for t in make_plan(old).trials()}
    dropped = sorted(before[trial_id] for trial_id in before.keys() - planned)
    if dropped:
        raise InputError(
            f"--extend keeps every trial of study '{study.spec.name}', and this file drops "
            f"{len(dropped)}, the first '{dropped[0]}'; keep them in the file, or give the study "
            "another name (--set name=...)"
        )


def _diff(old: StudySpec, new: StudySpec) -> list[str]:
    """Return the lines that differ, apart from ignored sections."""
    before, after = (_to_lines(spec) for spec in (old, new))
    return list(difflib.unified_diff(before, after, "launched", "given", lineterm="", n=1))


def _to_lines(spec: StudySpec) -> list[str]:
    """Return a complete study file with sorted keys, one value per line."""
    values: dict[str, Any] = spec.model_dump(mode="json", exclude=set(_IGNORED))
    return yaml.safe_dump(values, width=1000).splitlines()


def _shorten(lines: Collection[str]) -> list[str]:
    shown = list(lines)[:_MOST_LINES]
    hidden = len(lines) - len(shown)
    return [*shown, f"... and {hidden} more lines"] if hidden else shown
