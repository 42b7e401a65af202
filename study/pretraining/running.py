"""A pretraining as the command line sees it: features, the training, its pages, its card."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from modalities import FeatureStore
from study.errors import InputError, TrialError
from study.executor import Crew, Executor, Outcome, Task
from study.executors import executor_of
from study.failing import write_log
from study.lock import LockedError, StudyLock, forget
from study.outcomes import Outcomes
from study.pretraining.begin import Pretraining, begin
from study.pretraining.carding import begun_card
from study.pretraining.molecules import Chosen
from study.pretraining.spec import PretrainingSpec
from study.pretraining.stored import build
from study.pretraining.telling import closing_lines, watching
from study.progress import Reporter, reporter
from study.report.weights_page import weights_page
from study.storage import Storage
from study.tracked import tracker_of

if TYPE_CHECKING:
    from study.tracking import Tracker


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
    pretraining = begin(spec)
    pretraining.check_folder()
    pages = tracker_of(spec.run) if mlflow else None
    told = reporter(console)
    try:
        if pretraining.card is None:
            _train_locked(pretraining, told, ray=ray, wait=wait)
        else:
            _say_finished(pretraining, told)
    finally:
        told.close()
    _end(pretraining, pages, console)


def _train_locked(pretraining: Pretraining, told: Reporter, *, ray: bool, wait: bool) -> None:
    """Train under the lock of the folder, unless whoever had it before has finished."""
    folder = Storage(pretraining.places.folder)
    folder.prepare()
    with StudyLock(folder).held(wait=wait, note=told.note) as lock:
        pretraining.check_folder()  # again: another may have begun it meanwhile
        if pretraining.card is None:
            with closing(executor_of(pretraining.spec.run, ray=ray)) as executor:
                train(pretraining, executor, told, lambda: lock.lost)
        else:
            _say_finished(pretraining, told)
    forget(folder)


def _say_finished(pretraining: Pretraining, told: Reporter) -> None:
    told.note(f"{pretraining.places.home} is finished; nothing to do")


def train(
    pretraining: Pretraining,
    executor: Executor,
    told: Reporter,
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
    with watching(pretraining.places.diary, numbers.epochs, told):
        outcomes: list[Outcome] = []
        listener = Outcomes(outcomes.append, lost)
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


def _chosen(pretraining: Pretraining, executor: Executor, told: Reporter) -> Chosen:
    """Make the missing features; say which molecules are left out, and why."""
    refused = _features(pretraining, executor, told)
    chosen = pretraining.chosen_of(refused)
    for each in chosen.left_out:
        told.note(str(each))
    told.note(
        f"{len(chosen)} molecules of {chosen.source}, {chosen.merged} rows merged into others"
    )
    return chosen


def _features(pretraining: Pretraining, executor: Executor, told: Reporter) -> dict[str, str]:
    spec, places = pretraining.spec, pretraining.places
    store = FeatureStore(Path(places.features))
    common = {"store": places.features, "modality": spec.modality.model_dump(mode="json")}
    tasks = [
        Task(
            f"{spec.modality.word} molecules of bucket {shard.bucket}",
            "study.pretraining.stored:represent",
            {**common, "bucket": shard.bucket, "smiles": list(shard.smiles)},
        )
        for shard in store.missing(build(spec.modality), pretraining.chosen.smiles)
    ]
    refused: dict[str, str] = {}
    if tasks:
        told.stage("features", len(tasks))

    def on_done(outcome: Outcome) -> None:
        if outcome.value is None:
            raise InputError(f"{outcome.id}: {outcome.cause}")
        refused.update(outcome.value["refused"])
        told.advance()

    executor.map(tasks, Outcomes(on_done))
    return refused


def _task(pretraining: Pretraining, chosen: Chosen) -> Task:
    run = pretraining.spec.run
    payload = {
        "spec": pretraining.spec.model_dump(mode="json"),
        "places": pretraining.places.to_json(),
        "card": begun_card(pretraining, chosen),
        "threads": max(1, int(run.cpus_per_trial)),
        "gpu": run.gpus_per_worker > 0,
    }
    work, crew = "study.pretraining.work:pretrain", _crew(pretraining.spec)
    return Task(pretraining.identity, work, payload, crew)


def _crew(spec: PretrainingSpec) -> Crew:
    return Crew(spec.training.workers, spec.run.gpus_per_worker)


def _end(pretraining: Pretraining, pages: Tracker | None, console: Console) -> None:
    card, home = pretraining.card, pretraining.places.home
    if card is None:
        raise TrialError(f"{home} has no card although its training ended; run it again")
    lines = closing_lines(card, home)
    if pages is not None:
        pages.pretraining(weights_page(card, home))
        lines.insert(2, f"page:    experiment 'weights' of {pages.uri}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
