"""Run a pretraining: prepare its folder, train on an executor, write weights with their card."""

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
from modalities.weights.model_card import PLACE_OPTIONS, ModelCard, has_model_card, read_model_card
from study.config.components import RANDOM
from study.config.study import digest
from study.errors import InputError, TrialError
from study.executors.base import Executor, ResultCallback, Task, TaskResult, WorkerGroup
from study.executors.factory import build_executor
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
from study.tracking.pages import weights_page

if TYPE_CHECKING:
    from study.tracking.mlflow_store import MLflowStore

CODE = 2
"""Version of the pretraining code; a change that alters numbers raises it."""
_FREE = ("name", "description", "run")
"""Sections that change no weight."""


@dataclass(frozen=True, eq=False)
class Pretraining:
    """A pretraining whose molecules were read.

    Attributes
    ----------
    spec : PretrainingSpec
    chosen : PretrainingMolecules
        Molecules of the table, before any is refused by the modality or the task.
    places : PretrainingFolders
    """

    spec: PretrainingSpec
    chosen: PretrainingMolecules
    places: PretrainingFolders

    @cached_property
    def numbers(self) -> dict[str, Any]:
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
            "molecules": self.chosen.digest,
            "held_out": spec.held_out,
            "training": spec.training.model_dump(mode="json"),
            "code": CODE,
        }

    @property
    def identity(self) -> str:
        """Content id: equal ids give equal weights."""
        return digest(self.numbers)[:32]

    @property
    def card(self) -> ModelCard | None:
        """The card of the finished weights; None before."""
        return read_model_card(self.places.home) if has_model_card(self.places.home) else None

    def check_folder(self) -> None:
        """Refuse a folder that another pretraining has begun.

        Raises
        ------
        InputError
            The message says in what the two differ.
        """
        begun = self.places.begun
        if not begun.is_file():
            held = Storage(self.places.folder).names("")  # not what is just being written
            if not all(map(is_lock, held)):
                raise InputError(f"{self.places.home} is no folder of a pretraining; move it away")
            return
        other = json.loads(begun.read_text(encoding="utf-8"))["numbers"]
        if other != self.numbers:
            raise InputError(
                f"{self.places.home} holds another pretraining ({_difference(other, self.numbers)})"
                "; give this one another 'name', or remove the folder"
            )

    def lay_out(self) -> None:
        """Begin the folder: it says what it will hold."""
        Storage(self.places.folder).prepare()
        value = {"identity": self.identity, "numbers": self.numbers, "file": self.spec.model_dump()}
        _write(self.places.begun, value)

    def chosen_of(self, refused: Mapping[str, str]) -> PretrainingMolecules:
        """Return the molecules that the modality and the task can represent."""
        kept = self.chosen.without(refused, f"not to be had as '{self.spec.modality.name}'")
        if not len(kept):
            raise InputError(_none_left(refused))
        unfit = self._unfit(kept)
        if len(unfit) == len(kept):
            raise InputError(_none_left(unfit))
        return kept.without(unfit, f"nothing for '{self.spec.objective.name}'")

    def _unfit(self, chosen: PretrainingMolecules) -> dict[str, str]:
        """Return the molecules the task refuses, one by one."""
        modality, objective = (
            build_component(self.spec.modality),
            build_component(self.spec.objective),
        )
        features = FeatureStore(Path(self.places.features)).load(modality, chosen.smiles)
        stored, refused = StoredModality(modality, features), {}
        for text, name in zip(chosen.smiles, chosen.names, strict=True):
            try:
                objective.prepare(stored, MoleculeBatch((text,), (name,)))
            except ModalityError as error:
                refused[text] = str(error)
        return refused

    def write_molecules(self, chosen: PretrainingMolecules) -> None:
        """Write what the training reads, and who was left out and why."""
        held_out = chosen.held_out(self.spec.held_out, self.spec.training.seed)
        value = {"smiles": chosen.smiles, "names": chosen.names, "held_out": held_out.tolist()}
        _write(self.places.molecules, value)
        _write(self.places.left_out, {each.why: each.which for each in chosen.left_out})

    def clear(self) -> None:
        """Remove what only the training needs."""
        self.places.molecules.unlink(missing_ok=True)
        for folder in (self.places.checkpoints, self.places.scratch):
            shutil.rmtree(folder, ignore_errors=True)


def prepare_pretraining(spec: PretrainingSpec) -> Pretraining:
    """Read the molecules of a pretraining, and check what can be checked before it runs.

    Raises
    ------
    InputError
        The storage, the molecules, an option or weights cannot be had as asked.
    """
    if not Storage(spec.run.storage).is_local:
        raise InputError(f"storage '{spec.run.storage}' is no folder: give a path")
    places = PretrainingFolders.of(spec.run, spec.name)
    try:
        modality, objective = build_component(spec.modality), build_component(spec.objective)
        if spec.modality.weights is not None:
            modality.encoder(seed=0)
    except ModalityError as error:
        raise InputError(f"pretraining '{spec.name}': {error}") from error
    chosen = choose_molecules(spec, objective.named, Path(spec.run.storage).resolve() / "cache")
    return Pretraining(spec, chosen, places)


def _none_left(refused: Mapping[str, str]) -> str:
    why = next(iter(refused.values()), "the table has none, or all of them are excluded")
    return f"no molecule is left to train on: {why}"


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Name the numbers in which two pretrainings differ: begun and asked."""
    mine, yours = _flat(one), _flat(other)
    places = sorted(k for k in mine.keys() | yours if mine.get(k) != yours.get(k))
    return ", ".join(f"{k}: {mine.get(k)}, not {yours.get(k)}" for k in places)


def _flat(numbers: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, value in numbers.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{section}.{key}".rstrip("."): item for key, item in inner.items()}
    return flat


def _write(path: Path, value: object) -> None:
    write_atomic(path, json.dumps(value, indent=1).encode())


def build_model_card(pretraining: Pretraining, chosen: PretrainingMolecules) -> dict[str, Any]:
    """Return the fields of the card that are known before the training."""
    spec = pretraining.spec
    options = {k: v for k, v in spec.modality.options.items() if k not in PLACE_OPTIONS}
    held_out = chosen.held_out(spec.held_out, spec.training.seed)
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
            "file": chosen.source,
            "molecules": len(chosen),
            "held_out": len(held_out),
            "left_out": sum(len(each.which) for each in chosen.left_out),
            "merged": chosen.merged,
            "exclude": spec.molecules.exclude,
            "sha256": chosen.digest,
        },
        "versions": _versions(pretraining.numbers),
        "terms": spec.molecules.terms,
        "created_by": f"olfaction-study {study.__version__}",
        "identity": pretraining.identity,
    }


def _versions(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Return what the weights were made with."""
    installed = {name: metadata.version(name) for name in ("torch", "numpy", "rdkit")}
    words = {what: str(numbers[what]["version"]) for what in ("modality", "objective")}
    return {**installed, **words}


def run_pretraining(spec: PretrainingSpec, *, ray: bool, mlflow: bool, wait: bool = False) -> None:
    """Train what is missing of a pretraining and print what a study file needs to name it.

    Parameters
    ----------
    spec : PretrainingSpec
    ray, mlflow : bool
        On Ray; with a tracking page.
    wait : bool
        Wait while another launch of the pretraining runs.

    Raises
    ------
    InputError
        It cannot be begun as asked; nothing was trained.
    LockedError
        Another launch of the pretraining runs.
    TrialError
        The training failed; its last epoch is kept and the same command goes on from there.
    """
    console = Console()
    pretraining = prepare_pretraining(spec)
    pretraining.check_folder()
    pages = build_store(spec.run) if mlflow else None
    told = build_progress(console)
    try:
        if pretraining.card is None:
            _train_locked(pretraining, told, ray=ray, wait=wait)
        else:
            _say_finished(pretraining, told)
    finally:
        told.close()
    _end(pretraining, pages, console)


def _train_locked(
    pretraining: Pretraining, told: ProgressCallback, *, ray: bool, wait: bool
) -> None:
    """Train under the lock of the folder, unless whoever had it before has finished."""
    folder = Storage(pretraining.places.folder)
    folder.prepare()
    with StudyLock(folder).held(wait=wait, note=told.note) as lock:
        pretraining.check_folder()  # again: another may have begun it meanwhile
        if pretraining.card is None:
            with closing(
                build_executor(**pretraining.spec.run.executor_options(), ray=ray)
            ) as executor:
                train_pretraining(pretraining, executor, told, lambda: lock.lost)
        else:
            _say_finished(pretraining, told)
    remove_lock(folder)


def _say_finished(pretraining: Pretraining, told: ProgressCallback) -> None:
    told.note(f"{pretraining.places.home} is finished; nothing to do")


def train_pretraining(
    pretraining: Pretraining,
    executor: Executor,
    told: ProgressCallback,
    lost: Callable[[], bool] = lambda: False,
) -> None:
    """Lay out the folder, make features, train; the folder has a card in the end.

    Raises
    ------
    LockedError
        `lost` says that another launch has taken over.
    TrialError
        The training failed.
    """
    executor.require([_crew(pretraining.spec)])
    pretraining.lay_out()
    chosen = _chosen(pretraining, executor, told)
    pretraining.write_molecules(chosen)
    numbers = pretraining.spec.training
    with watch_history(pretraining.places.diary, numbers.epochs, told):
        outcomes: list[TaskResult] = []
        listener = ResultCallback(outcomes.append, lost)
        task, scratch = _task(pretraining, chosen), str(pretraining.places.scratch)
        executor.grid([task], listener, folder=scratch)
    if not outcomes:
        raise LockedError(
            f"another launch of pretraining '{pretraining.spec.name}' took over while this process "
            "was suspended; it goes on there, after the last epoch"
        )
    failed = outcomes[0].cause
    if failed:
        home = Storage(pretraining.places.folder)
        write_log(home, pretraining.identity, pretraining.spec.name, outcomes[0].traceback)
        raise TrialError(
            f"pretraining '{pretraining.spec.name}' failed: {failed}; the same command goes on "
            "after its last epoch"
        )
    pretraining.clear()


def _chosen(
    pretraining: Pretraining, executor: Executor, told: ProgressCallback
) -> PretrainingMolecules:
    """Make the missing features; say which molecules are left out, and why."""
    refused = _features(pretraining, executor, told)
    chosen = pretraining.chosen_of(refused)
    for each in chosen.left_out:
        told.note(str(each))
    told.note(
        f"{len(chosen)} molecules of {chosen.source}, {chosen.merged} rows merged into others"
    )
    return chosen


def _features(
    pretraining: Pretraining, executor: Executor, told: ProgressCallback
) -> dict[str, str]:
    spec, places = pretraining.spec, pretraining.places
    store = FeatureStore(Path(places.features))
    common = {"store": places.features, "modality": spec.modality.model_dump(mode="json")}
    tasks = [
        Task(
            f"{spec.modality.name} molecules of bucket {shard.bucket}",
            "study.pretraining.workspace:represent",
            {**common, "bucket": shard.bucket, "smiles": list(shard.smiles)},
        )
        for shard in store.missing(build_component(spec.modality), pretraining.chosen.smiles)
    ]
    refused: dict[str, str] = {}
    if tasks:
        told.stage("features", len(tasks))

    def on_done(outcome: TaskResult) -> None:
        if outcome.value is None:
            raise InputError(f"{outcome.id}: {outcome.cause}")
        refused.update(outcome.value["refused"])
        told.advance()

    executor.map(tasks, ResultCallback(on_done))
    return refused


def _task(pretraining: Pretraining, chosen: PretrainingMolecules) -> Task:
    run = pretraining.spec.run
    payload = {
        "spec": pretraining.spec.model_dump(mode="json"),
        "places": pretraining.places.to_json(),
        "card": build_model_card(pretraining, chosen),
        "threads": max(1, int(run.cpus_per_trial)),
        "gpu": run.gpus_per_worker > 0,
    }
    work, crew = "study.pretraining.training:pretrain", _crew(pretraining.spec)
    return Task(pretraining.identity, work, payload, crew)


def _crew(spec: PretrainingSpec) -> WorkerGroup:
    return WorkerGroup(spec.training.workers, spec.run.gpus_per_worker)


def _end(pretraining: Pretraining, pages: MLflowStore | None, console: Console) -> None:
    card, home = pretraining.card, pretraining.places.home
    if card is None:
        raise TrialError(f"{home} has no card although its training ended; run it again")
    lines = format_summary(card, home)
    if pages is not None:
        pages.pretraining(weights_page(card, home, read_history(pretraining.places.diary)))
        lines.insert(2, f"page:    experiment 'weights' of {pages.uri}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
