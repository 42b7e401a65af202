"""The stages before the trials: features, then encoder jobs; each runs only what is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from study.cells import TrialSpec
from study.choices import ModalityChoice
from study.embeddings import EncoderJob, job_of
from study.errors import InputError
from study.executor import Crew, Executor, Outcome, Task
from study.inputs import modality_of
from study.ledger import Failure
from study.prepare import Prepared
from study.progress import Reporter

Runner = Callable[[Sequence[Task], Callable[[Outcome], None]], None]


@dataclass(frozen=True, eq=False)
class Site:
    """A study at work: what runs, where, and who hears of it."""

    study: Prepared
    executor: Executor
    reporter: Reporter

    def run(
        self,
        runner: Runner,
        tasks: Sequence[Task],
        name: str,
        told: Callable[[Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Run a stage and return the outcomes that failed."""
        failed: list[Outcome] = []
        if not tasks:
            return failed
        self.reporter.stage(name, len(tasks))

        def on_done(outcome: Outcome) -> None:
            if not outcome.finished:
                failed.append(outcome)
            if told is not None:
                told(outcome)
            self.reporter.advance()

        runner(tasks, on_done)
        return failed

    def grid(self, tasks: Sequence[Task], on_done: Callable[[Outcome], None]) -> None:
        """Run encoder jobs or trials."""
        self.executor.grid(tasks, on_done, folder=str(self.study.folder / "scratch"))

    def payload(self, **own: object) -> dict[str, Any]:
        """Return what every encoder job and trial is told, with its own part."""
        study = self.study
        return {
            "study": str(study.folder),
            "digest": study.key,
            "ledger": study.ledger.storage.url,
            "threads": max(1, int(study.spec.run.cpus_per_trial)),
            **own,
        }

    def task(self, task_id: str, work: str, crew: Crew | None, **own: object) -> Task:
        """Return an encoder job or a trial; only what runs an encoder is given a GPU."""
        gpu = crew is not None and crew.gpus > 0
        return Task(task_id, work, self.payload(gpu=gpu, **own), crew)

    def fail(self, trial_id: str, trial: TrialSpec, cause: str) -> None:
        """Record why a trial has no result, and say it."""
        self.study.ledger.put_failure(Failure(trial_id, str(trial), cause))
        self.reporter.note(f"failed: {trial}: {cause}")


def make_features(site: Site, trials: Collection[TrialSpec]) -> None:
    """Make the missing features of every modality.

    Raises
    ------
    InputError
        A molecule of the table cannot be represented in a modality that is asked for.
    """
    store = site.study.inputs.features_store
    before = set(store.set_aside())
    tasks = [task for choice in _choices(trials) for task in _shards(site, choice)]
    failed = site.run(site.executor.map, tasks, "features")
    for path in sorted(set(store.set_aside()) - before):
        site.reporter.note(f"damaged features set aside and made again: {path}")
    if failed:
        causes = "\n  ".join(dict.fromkeys(outcome.cause for outcome in failed))
        raise InputError(
            f"the table cannot be represented in every modality:\n  {causes}\n"
            "drop these molecules from the table or leave the modality out"
        )


def _shards(site: Site, choice: ModalityChoice) -> list[Task]:
    store, smiles = site.study.inputs.features_store, site.study.inputs.dataset.smiles
    common = {"store": str(store.root), "choice": choice.model_dump(mode="json")}
    return [
        Task(
            f"{choice.word} molecules of bucket {shard.bucket}",
            "study.worker:featurize",
            {**common, "bucket": shard.bucket, "smiles": list(shard.smiles)},
        )
        for shard in store.missing(modality_of(choice), smiles)
    ]


def _choices(trials: Collection[TrialSpec]) -> list[ModalityChoice]:
    features = {f.key: f for trial in trials for f in trial.cell.features}
    return [feature.choice for feature in features.values()]


def encoder_tasks(site: Site, trials: Collection[TrialSpec]) -> list[Task]:
    """Return the encoder jobs that trials need and the cache lacks."""
    inputs = site.study.inputs
    jobs: dict[str, EncoderJob] = {}
    for trial in trials:
        for feature in trial.cell.features:
            job = job_of(feature, trial)
            if job is not None:
                jobs.setdefault(inputs.job_id(job), job)
    sound, damaged = inputs.embedding_store.sound(set(jobs))
    for place in damaged:
        site.reporter.note(f"damaged embeddings set aside, their job runs again: {place}")
    return [
        site.task(job_id, "study.worker:encode", _crew(site, job), job=job.to_json())
        for job_id, job in jobs.items()
        if job_id not in sound
    ]


def _crew(site: Site, job: EncoderJob) -> Crew:
    """Return who runs an encoder job: the workers of its training; one to embed alone."""
    workers = job.feature.choice.training.workers if job.place else 1
    return Crew(workers, site.study.spec.run.gpus_per_worker)


def trial_task(site: Site, trial_id: str, trial: TrialSpec) -> Task:
    """Return a trial as a task: with a crew if it trains encoders through its fusion."""
    gpus = site.study.spec.run.gpus_per_worker
    crew = Crew(trial.cell.training.workers, gpus) if trial.cell.joint else None
    return site.task(trial_id, "study.worker:trial", crew, trial=trial.to_json())


def run_encoders(site: Site, tasks: Collection[Task]) -> dict[str, str]:
    """Run encoder jobs; return the cause of each one that failed."""
    failed = site.run(site.grid, list(tasks), "encoders")
    names = {task.id: EncoderJob.from_json(task.payload["job"]) for task in tasks}
    return {outcome.id: f"{names[outcome.id]}: {outcome.cause}" for outcome in failed}
