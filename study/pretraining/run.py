"""Run of a pretraining: preparation of its folder, training on an executor, summary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

import study
from modalities import FeatureStore, ModalityError
from modalities.pretraining import MoleculeBatch
from modalities.weights.model_card import WEIGHT_OPTIONS, ModelCard, has_model_card, read_model_card
from study.config.components import RANDOM
from study.config.study import digest
from study.errors import InputError, TrialError
from study.executors.base import (
    Executor,
    LocalExecutor,
    ResultCallback,
    Task,
    TaskResult,
    WorkerGroup,
)
from study.executors.factory import build_executor
from study.plugins.loading import refuse_session_components
from study.pretraining.config import PretrainingSpec
from study.pretraining.molecules import PretrainingMolecules, choose_molecules
from study.pretraining.workspace import (
    PretrainingFolders,
    StoredModality,
    build_component,
    format_summary,
    read_history,
    watch_history,
)
from study.progress import ProgressCallback, build_progress
from study.results.summary import write_log
from study.storage.lock import LockedError, StudyLock, is_lock, remove_lock
from study.storage.storage import Storage, write_atomic
from study.tracking.open import build_store
from study.tracking.pages import build_weights_page

if TYPE_CHECKING:
    from study.tracking.mlflow_store import MLflowStore

CODE = 2
"""Version of the pretraining code, raised by every change that alters weights."""


@dataclass(frozen=True, eq=False)
class Pretraining:
    """A pretraining with its molecules and folders.

    Attributes
    ----------
    spec : PretrainingSpec
    molecules : PretrainingMolecules
        Molecules of the table, including those that the modality or the objective may refuse.
    folders : PretrainingFolders
    """

    spec: PretrainingSpec
    molecules: PretrainingMolecules
    folders: PretrainingFolders

    @cached_property
    def weight_inputs(self) -> dict[str, Any]:
        """Everything the weights depend on, as JSON values by section."""
        spec = self.spec
        return {
            "objective": {
                **spec.objective.json_value(),
                "version": build_component(spec.objective).version,
            },
            "modality": {
                **spec.modality.json_value(),
                "version": build_component(spec.modality).version,
            },
            "molecules": self.molecules.digest,
            "held_out": spec.held_out,
            "training": spec.training.model_dump(mode="json"),
            "code": CODE,
        }

    @property
    def identity(self) -> str:
        """Content id: equal ids give equal weights."""
        return digest(self.weight_inputs)[:32]

    @property
    def card(self) -> ModelCard | None:
        """The card of the finished weights; None if they are not finished."""
        return read_model_card(self.folders.home) if has_model_card(self.folders.home) else None

    def check_folder(self) -> None:
        """Check that the folder of weights is empty or belongs to this pretraining.

        Raises
        ------
        InputError
            It belongs to another pretraining, in which case the message states the differences,
            or it has other files.
        """
        manifest = self.folders.manifest
        if not manifest.is_file():
            names = Storage(self.folders.folder).names("")  # without files that are being written
            if not all(map(is_lock, names)):
                raise InputError(
                    f"{self.folders.home} is not a folder of a pretraining; move it away"
                )
            return
        existing = json.loads(manifest.read_text(encoding="utf-8"))["numbers"]
        if existing != self.weight_inputs:
            differences = _format_differences(existing, self.weight_inputs)
            raise InputError(
                f"{self.folders.home} holds another pretraining ({differences}); "
                "give this one another 'name', or remove the folder"
            )

    def create_folder(self) -> None:
        """Create the folder of weights and its manifest."""
        Storage(self.folders.folder).prepare()
        manifest = {
            "identity": self.identity,
            "numbers": self.weight_inputs,
            "file": self.spec.model_dump(),
        }
        _write_json(self.folders.manifest, manifest)

    def filter_molecules(self, refused: Mapping[str, str]) -> PretrainingMolecules:
        """Return the molecules that the modality and the objective can represent.

        Parameters
        ----------
        refused : mapping of str to str
            Molecules that the modality cannot represent, with the error message of each.

        Raises
        ------
        InputError
            No molecule is left.
        """
        featurized = self.molecules.without(
            refused, f"not to be had as '{self.spec.modality.name}'"
        )
        if not len(featurized):
            raise InputError(_format_none_left(refused))
        refused = self._find_refused(featurized)
        if len(refused) == len(featurized):
            raise InputError(_format_none_left(refused))
        return featurized.without(refused, f"nothing for '{self.spec.objective.name}'")

    def _find_refused(self, molecules: PretrainingMolecules) -> dict[str, str]:
        """Return the molecules that the objective refuses, with the error message of each."""
        modality, objective = (
            build_component(self.spec.modality),
            build_component(self.spec.objective),
        )
        features = FeatureStore(Path(self.folders.features)).load(modality, molecules.smiles)
        stored, refused = StoredModality(modality, features), {}
        for smiles, name in zip(molecules.smiles, molecules.names, strict=True):
            try:
                objective.prepare(stored, MoleculeBatch((smiles,), (name,)))
            except ModalityError as error:
                refused[smiles] = str(error)
        return refused

    def write_molecules(self, molecules: PretrainingMolecules) -> None:
        """Write the file of molecules for the training, and the file of those left out."""
        held_out = molecules.draw_held_out(self.spec.held_out, self.spec.training.seed)
        table = {
            "smiles": molecules.smiles,
            "names": molecules.names,
            "held_out": held_out.tolist(),
        }
        _write_json(self.folders.molecules, table)
        left_out = {excluded.reason: excluded.molecules for excluded in molecules.left_out}
        _write_json(self.folders.left_out, left_out)

    def clear(self) -> None:
        """Remove the files that only the training needs."""
        self.folders.molecules.unlink(missing_ok=True)
        for folder in (self.folders.checkpoints, self.folders.scratch):
            shutil.rmtree(folder, ignore_errors=True)


def prepare_pretraining(spec: PretrainingSpec) -> Pretraining:
    """Read the molecules of a pretraining, and check what can be checked before it runs.

    Raises
    ------
    InputError
        The storage, the table of molecules, an option or the weights cannot be used.
    """
    if not Storage(spec.run.storage).is_local:
        raise InputError(f"storage '{spec.run.storage}' is not a folder: give a path")
    folders = PretrainingFolders.of(spec.run, spec.name)
    try:
        modality, objective = build_component(spec.modality), build_component(spec.objective)
        if spec.modality.weights is not None:
            modality.encoder(seed=0)  # checks that the weights load
    except ModalityError as error:
        raise InputError(f"pretraining '{spec.name}': {error}") from error
    molecules = choose_molecules(spec, objective.named, Path(spec.run.storage).resolve() / "cache")
    return Pretraining(spec, molecules, folders)


def _format_none_left(refused: Mapping[str, str]) -> str:
    reason = next(iter(refused.values()), "the table has none, or all of them are excluded")
    return f"no molecule is left to train on: {reason}"


def _format_differences(existing: Mapping[str, Any], requested: Mapping[str, Any]) -> str:
    """List the settings in which two pretrainings differ, with both values."""
    old, new = _flatten(existing), _flatten(requested)
    keys = sorted(key for key in old.keys() | new if old.get(key) != new.get(key))
    return ", ".join(f"{key}: {old.get(key)}, not {new.get(key)}" for key in keys)


def _flatten(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all sections by ``section.key``."""
    flat: dict[str, Any] = {}
    for section, value in sections.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{section}.{key}".rstrip("."): item for key, item in inner.items()}
    return flat


def _write_json(path: Path, value: object) -> None:
    write_atomic(path, json.dumps(value, indent=1).encode())


def build_model_card(pretraining: Pretraining, molecules: PretrainingMolecules) -> dict[str, Any]:
    """Return the fields of the card that are known before the training."""
    spec = pretraining.spec
    options = {k: v for k, v in spec.modality.options.items() if k not in WEIGHT_OPTIONS}
    held_out = molecules.draw_held_out(spec.held_out, spec.training.seed)
    return {
        "name": spec.name,
        "description": spec.description,
        "modality": spec.modality.name,
        "options": options,
        "started_from": spec.modality.options["sha256"] if spec.modality.weights else RANDOM,
        "objective": spec.objective.name,
        "objective_options": dict(spec.objective.options),
        "training": spec.training.model_dump(mode="json"),
        "data": {
            "file": molecules.source,
            "molecules": len(molecules),
            "held_out": len(held_out),
            "left_out": sum(len(excluded.molecules) for excluded in molecules.left_out),
            "merged": molecules.merged,
            "exclude": spec.molecules.exclude,
            "sha256": molecules.digest,
        },
        "versions": _list_versions(pretraining.weight_inputs),
        "terms": spec.molecules.terms,
        "created_by": f"olfaction-study {study.__version__}",
        "identity": pretraining.identity,
    }


def _list_versions(weight_inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions of distributions, featurizer and task."""
    installed = {name: metadata.version(name) for name in ("torch", "numpy", "rdkit")}
    components = {key: str(weight_inputs[key]["version"]) for key in ("modality", "objective")}
    return {**installed, **components}


def run_pretraining(spec: PretrainingSpec, *, ray: bool, mlflow: bool, wait: bool = False) -> None:
    """Run a pretraining, or continue it, and print how to use its weights in a study file.

    Parameters
    ----------
    spec : PretrainingSpec
    ray : bool
        Run on Ray; otherwise in this process.
    mlflow : bool
        Add the weights to the tracking store.
    wait : bool
        Wait while another launch of the pretraining runs.

    Raises
    ------
    InputError
        It cannot be started; nothing was trained.
    LockedError
        Another launch of the pretraining runs.
    TrialError
        The training failed; the same command continues after the last finished epoch.
    """
    console = Console()
    pretraining = prepare_pretraining(spec)
    pretraining.check_folder()
    tracking_store = build_store(spec.run) if mlflow else None
    progress = build_progress(console)
    try:
        if pretraining.card is None:
            _train_locked(pretraining, progress, ray=ray, wait=wait)
        else:
            _note_finished(pretraining, progress)
    finally:
        progress.close()
    _report(pretraining, tracking_store, console)


def _train_locked(
    pretraining: Pretraining, progress: ProgressCallback, *, ray: bool, wait: bool
) -> None:
    """Train while holding the lock of the folder, unless a previous holder has finished."""
    folder = Storage(pretraining.folders.folder)
    folder.prepare()
    with StudyLock(folder).hold(wait=wait, note=progress.note) as lock:
        pretraining.check_folder()  # again: another launch may have created it meanwhile
        if pretraining.card is None:
            with closing(
                build_executor(**pretraining.spec.run.executor_options(), ray=ray)
            ) as executor:
                train_pretraining(pretraining, executor, progress, lambda: lock.lost)
        else:
            _note_finished(pretraining, progress)
    remove_lock(folder)


def _note_finished(pretraining: Pretraining, progress: ProgressCallback) -> None:
    progress.note(f"{pretraining.folders.home} is finished; nothing to do")


def train_pretraining(
    pretraining: Pretraining,
    executor: Executor,
    progress: ProgressCallback,
    is_lost: Callable[[], bool] = lambda: False,
) -> None:
    """Create the folder of weights, compute features, train, and write weights and card.

    Parameters
    ----------
    pretraining : Pretraining
    executor : Executor
    progress : ProgressCallback
    is_lost : function
        Whether another launch has taken the lock.

    Raises
    ------
    InputError
        A component was registered in this process, and the executor runs other processes.
    LockedError
        Another launch has taken the lock.
    TrialError
        The training failed.
    """
    if not isinstance(executor, LocalExecutor):
        used = (pretraining.spec.objective, pretraining.spec.modality)
        refuse_session_components((component.key, component.name) for component in used)
    executor.require([_get_worker_group(pretraining.spec)])
    pretraining.create_folder()
    molecules = _featurize(pretraining, executor, progress)
    pretraining.write_molecules(molecules)
    epochs = pretraining.spec.training.epochs
    with watch_history(pretraining.folders.history, epochs, progress):
        results: list[TaskResult] = []
        callback = ResultCallback(results.append, is_lost)
        task, scratch = _build_task(pretraining, molecules), str(pretraining.folders.scratch)
        executor.grid([task], callback, folder=scratch)
    if not results:
        raise LockedError(
            f"another launch of pretraining '{pretraining.spec.name}' took over while this process "
            "was suspended; it continues after the last finished epoch"
        )
    cause = results[0].cause
    if cause:
        home = Storage(pretraining.folders.folder)
        write_log(home, pretraining.identity, pretraining.spec.name, results[0].traceback)
        raise TrialError(
            f"pretraining '{pretraining.spec.name}' failed: {cause}; run the same command again to "
            "continue after the last finished epoch"
        )
    pretraining.clear()


def _featurize(
    pretraining: Pretraining, executor: Executor, progress: ProgressCallback
) -> PretrainingMolecules:
    """Compute missing features, and return the molecules that can be used."""
    refused = _compute_features(pretraining, executor, progress)
    molecules = pretraining.filter_molecules(refused)
    for excluded in molecules.left_out:
        progress.note(str(excluded))
    progress.note(
        f"{len(molecules)} molecules of {molecules.source}, duplicate rows merged: "
        f"{molecules.merged}"
    )
    return molecules


def _compute_features(
    pretraining: Pretraining, executor: Executor, progress: ProgressCallback
) -> dict[str, str]:
    """Compute missing features; return the refused molecules with the error message of each."""
    spec, folders = pretraining.spec, pretraining.folders
    store = FeatureStore(Path(folders.features))
    common = {"store": folders.features, "modality": spec.modality.model_dump(mode="json")}
    tasks = [
        Task(
            f"{spec.modality.name} molecules of bucket {shard.bucket}",
            "study.pretraining.workspace:represent",
            {**common, "bucket": shard.bucket, "smiles": list(shard.smiles)},
        )
        for shard in store.missing(build_component(spec.modality), pretraining.molecules.smiles)
    ]
    refused: dict[str, str] = {}
    if tasks:
        progress.stage("features", len(tasks))

    def take_result(result: TaskResult) -> None:
        if result.value is None:
            raise InputError(f"{result.id}: {result.cause}")
        refused.update(result.value["refused"])
        progress.advance()

    executor.map(tasks, ResultCallback(take_result))
    return refused


def _build_task(pretraining: Pretraining, molecules: PretrainingMolecules) -> Task:
    run = pretraining.spec.run
    payload = {
        "spec": pretraining.spec.model_dump(mode="json"),
        "places": pretraining.folders.to_json(),
        "card": build_model_card(pretraining, molecules),
        "threads": max(1, int(run.cpus_per_trial)),
        "gpu": run.gpus_per_worker > 0,
    }
    group = _get_worker_group(pretraining.spec)
    return Task(pretraining.identity, "study.pretraining.training:pretrain", payload, group)


def _get_worker_group(spec: PretrainingSpec) -> WorkerGroup:
    return WorkerGroup(spec.training.workers, spec.run.gpus_per_worker)


def _report(pretraining: Pretraining, tracking_store: MLflowStore | None, console: Console) -> None:
    """Add the weights to the tracking store and print the summary."""
    card, home = pretraining.card, pretraining.folders.home
    if card is None:
        raise TrialError(
            f"{home} has no card although its training ended; run the same command again"
        )
    lines = format_summary(card, home)
    if tracking_store is not None:
        page = build_weights_page(card, home, read_history(pretraining.folders.history))
        tracking_store.sync_weights(page)
        lines.insert(2, f"page:    experiment 'weights' of {tracking_store.uri}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
