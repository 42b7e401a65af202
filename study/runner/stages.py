"""Stages of a launch: features, encoder jobs, trials; each runs only what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from study.artifacts.embeddings import EncoderJob, encoder_job_for
from study.artifacts.study_data import build_modality
from study.config.components import ModalityConfig
from study.config.redaction import redact
from study.config.study import BudgetMeter
from study.errors import InputError, StorageError
from study.executors.base import Executor, Task, TaskCallback, TaskResult, WorkerGroup
from study.executors.failures import FailureKind
from study.planning.trials import Trial
from study.progress import ProgressCallback
from study.results.ledger import Failure
from study.results.study_results import Study
from study.results.summary import write_log
from study.runner.stopping import StopSignal
from study.training.packing import build_packs, can_share_process

Runner = Callable[[Sequence[Task], TaskCallback], None]
Told = Callable[[TaskResult], None]


@dataclass(frozen=True, eq=False)
class StageRunner:
    """A study at work: what runs, where, who hears of it, and whether it has been asked to end."""

    study: Study
    executor: Executor
    reporter: ProgressCallback
    stop: StopSignal
    meter: BudgetMeter

    def run(
        self, runner: Runner, tasks: Sequence[Task], name: str, told: Told | None = None
    ) -> list[TaskResult]:
        """Run a stage and return the outcomes that failed.

        Raises
        ------
        KeyboardInterrupt, LockedError
            The launch was asked to end; what had finished is kept.
        StorageError
            The storage takes no more; what had finished is kept.
        """
        stage = _Stage(self, told, tasks)
        before = self.study.data.quarantined()
        if tasks:
            self.reporter.stage(name, sum(task.pieces for task in tasks))
            runner(tasks, stage)
        for path in sorted(self.study.data.quarantined() - before):
            self.reporter.note(f"damaged file set aside and made again: {path}")
        self.stop.check()
        return stage.failed

    def grid(self, tasks: Sequence[Task], listener: TaskCallback) -> None:
        """Run encoder jobs or trials."""
        self.executor.grid(tasks, listener, folder=self.study.home.below("scratch").address)

    def payload(self, **own: object) -> dict[str, Any]:
        """Return what every encoder job and trial is told, with its own part."""
        study = self.study
        return {
            "study": study.home.address,
            "digest": study.key,
            "ledger": study.ledger.storage.address,
            "threads": max(1, int(study.spec.run.cpus_per_trial)),
            **own,
        }

    def task(
        self,
        task_id: str,
        name: str,
        work: str,
        crew: WorkerGroup | None,
        pieces: int = 1,
        **own: object,
    ) -> Task:
        """Return an encoder job or a pack of trials; the GPU is the crew's."""
        gpu = crew is not None and crew.gpus > 0
        return Task(task_id, work, self.payload(gpu=gpu, **own), crew, name, pieces)

    def spend(self, task: Task, seconds: float) -> None:
        """Count the machines that a piece of work had."""
        crew = task.crew or WorkerGroup()
        cpus = crew.workers * self.study.spec.run.cpus_per_trial
        self.meter.spend(seconds, cpus=cpus, gpus=crew.workers * crew.gpus)

    def fail(self, trial_id: str, trial: Trial, cause: str, traceback: str = "") -> None:
        """Record why a trial has no result, and say it."""
        failure = Failure(trial_id, str(trial), cause, redact(traceback))
        self.study.ledger.put_failure(failure)
        self.reporter.note(f"failed: {trial}: {cause}")

    def keep_log(self, task_id: str, name: str, traceback: str) -> None:
        """Write the traceback of a task that failed to the logs of the study's folder."""
        write_log(self.study.home, task_id, name, traceback)


class _Stage(TaskCallback):
    """Hears of the tasks of a stage, and tells the reporter."""

    def __init__(self, site: StageRunner, told: Told | None, tasks: Sequence[Task]) -> None:
        self._site, self._told = site, told
        self._tasks = {task.id: task for task in tasks}
        self.failed: list[TaskResult] = []

    @property
    def stopping(self) -> bool:
        reached = self._site.meter.reached
        if reached:
            self._site.stop.spend(reached)
        return self._site.stop.asked

    @property
    def hurried(self) -> bool:
        return self._site.stop.hurried

    def began(self, task_id: str) -> None:
        self._site.reporter.began(self._tasks[task_id].pieces)

    def died(self, task_id: str, cause: str) -> None:
        self._site.reporter.lost(self._tasks[task_id].pieces)
        self._site.reporter.note(f"{self._tasks[task_id].name}: {cause}; it is tried again")

    def ended(self, outcome: TaskResult) -> None:
        if (
            outcome.kind is FailureKind.STORAGE_REFUSED
        ):  # no trial's own fault, and the next would meet it too
            self._site.stop.give_up(StorageError(outcome.cause))
            return
        if outcome.value is None:
            name = self._tasks[outcome.id].name
            self._site.keep_log(outcome.id, name, outcome.traceback)
            self.failed.append(outcome)
        else:
            self._site.spend(self._tasks[outcome.id], outcome.value.get("seconds", 0.0))
        if self._told is not None:
            self._told(outcome)
        pieces = self._tasks[outcome.id].pieces
        failed = pieces if outcome.value is None else len(outcome.value.get("failed", ()))
        self._site.reporter.advance(pieces=pieces, failed=failed)


def make_features(site: StageRunner, trials: Collection[Trial]) -> None:
    """Make the missing features of every modality.

    Raises
    ------
    InputError
        A molecule of the table cannot be represented in a modality that is asked for.
    """
    before = site.study.data.quarantined()
    tasks = [task for choice in _choices(trials) for task in _shards(site, choice)]
    for path in sorted(site.study.data.quarantined() - before):
        site.reporter.note(f"damaged features set aside and made again: {path}")
    failed = site.run(site.executor.map, tasks, "features")
    if failed:
        causes = "\n  ".join(dict.fromkeys(outcome.cause for outcome in failed))
        raise InputError(
            f"the table cannot be represented in every modality:\n  {causes}\n"
            "drop these molecules from the table or leave the modality out"
        )


def _shards(site: StageRunner, choice: ModalityConfig) -> list[Task]:
    store, smiles = site.study.data.features_store, site.study.data.dataset.smiles
    common = {"store": site.study.data.features_place, "choice": choice.model_dump(mode="json")}
    return [
        Task(
            f"{choice.name} molecules of bucket {shard.bucket}",
            "study.training.tasks:featurize",
            {**common, "bucket": shard.bucket, "smiles": list(shard.smiles)},
        )
        for shard in store.missing(build_modality(choice), smiles)
    ]


def _choices(trials: Collection[Trial]) -> list[ModalityConfig]:
    features = {f.key: f for trial in trials for f in trial.arm.features}
    return [feature.choice for feature in features.values()]


def encoder_tasks(site: StageRunner, trials: Collection[Trial]) -> list[Task]:
    """Return the encoder jobs that trials need and the cache lacks."""
    data = site.study.data
    jobs: dict[str, EncoderJob] = {}
    for trial in trials:
        for feature in trial.arm.features:
            job = encoder_job_for(feature, trial)
            if job is not None:
                jobs.setdefault(data.job_id(job), job)
    sound, damaged = data.embedding_store.sound(set(jobs))
    for place in damaged:
        site.reporter.note(f"damaged embeddings set aside, their job runs again: {place}")
    return [
        site.task(
            job_id, str(job), "study.training.tasks:encode", _crew(site, job), job=job.to_json()
        )
        for job_id, job in jobs.items()
        if job_id not in sound
    ]


def _crew(site: StageRunner, job: EncoderJob) -> WorkerGroup:
    """Return who runs an encoder job: the workers of its training; one to embed alone."""
    workers = job.feature.choice.training.workers if job.place else 1
    return WorkerGroup(workers, site.study.spec.run.gpus_per_worker)


def run_encoders(site: StageRunner, tasks: Collection[Task]) -> dict[str, TaskResult]:
    """Run encoder jobs; return the outcome of each one that failed, its name in the cause."""
    failed = site.run(site.grid, list(tasks), "encoders")
    names = {task.id: task.name for task in tasks}
    return {
        outcome.id: replace(outcome, cause=f"{names[outcome.id]}: {outcome.cause}")
        for outcome in failed
    }


PACKS = 4
"""Packs for each place where one can run: enough to end together, few enough to share."""
GIB = 1024**3


def worker_group_for(site: StageRunner, trial: Trial) -> WorkerGroup | None:
    """Return who runs a trial: a crew if it trains encoders through its fusion."""
    run = site.study.spec.run
    if trial.arm.joint:
        return WorkerGroup(trial.arm.training.workers, run.gpus_per_worker)
    heads = can_share_process(replace(trial, arm=replace(trial.arm, search=None)))
    return WorkerGroup(1, run.gpus_per_pack) if run.gpus_per_pack and heads else None


def run_trials(
    site: StageRunner,
    fits: Mapping[str, Trial],
    broken: Mapping[str, TaskResult],
    due: Callable[[], None],
) -> None:
    """Run the trials that are missing; those whose encoder failed fail with its cause.

    Parameters
    ----------
    site : StageRunner
    fits : mapping of id to Trial
    broken : mapping of str to TaskResult
        Encoder jobs that failed, by their identity.
    due : function
        Hears when every trial of an arm has ended.
    """
    causes = {trial_id: _broken(site.study, trial, broken) for trial_id, trial in fits.items()}
    for trial_id, job in causes.items():
        if job is not None:
            site.fail(trial_id, fits[trial_id], job.cause, job.traceback)
    able = {trial_id: trial for trial_id, trial in fits.items() if causes[trial_id] is None}
    most = site.study.spec.run.budget.trials or len(able)
    chosen = dict(list(able.items())[:most])
    left = Counter(trial.arm.id for trial in chosen.values())
    packs = {_name(ids): ids for ids in _packs(site, chosen)}

    def told(outcome: TaskResult) -> None:
        for trial_id, why in _failures(site, packs[outcome.id], outcome).items():
            trial, trace = chosen[trial_id], why["traceback"]
            site.fail(trial_id, trial, why["cause"], trace)
            if outcome.finished:  # a failure of this member; those of whole packs are kept already
                site.keep_log(trial_id, str(trial), trace)
        arms = Counter(chosen[trial_id].arm.id for trial_id in packs[outcome.id])
        left.subtract(arms)
        if any(left[arm] == 0 for arm in arms):
            due()

    site.run(site.grid, [_task(site, ids, chosen) for ids in packs.values()], "trials", told)
    if most < len(able):
        site.stop.spend(f"run.budget.trials: {most} is reached, {len(able)} were missing")


def _packs(site: StageRunner, trials: Mapping[str, Trial]) -> list[tuple[str, ...]]:
    """Deal trials into packs; the longest work first would need times nobody has yet."""
    if not trials:
        return []
    run = site.study.spec.run
    slots = site.executor.slots(WorkerGroup(1, run.gpus_per_pack))
    memory = int(run.pack_memory * GIB)
    # a time limit is one of each trial, and a process that is ended takes its pack along
    fewest = len(trials) if run.time_limit is not None else PACKS * slots
    return build_packs(trials, site.study.data, memory, fewest=fewest)


def _name(ids: Sequence[str]) -> str:
    """Return the identity of a pack: that of its first trial and how many more there are."""
    return ids[0] if len(ids) == 1 else f"{ids[0]}+{len(ids) - 1}"


def _task(site: StageRunner, ids: Sequence[str], trials: Mapping[str, Trial]) -> Task:
    """Return a pack as a task."""
    first = trials[ids[0]]
    more = f" and {len(ids) - 1} more trials" if len(ids) > 1 else ""
    work = "pack" if can_share_process(first) else "trial"
    return site.task(
        _name(ids),
        f"{first}{more}",
        f"study.training.tasks:{work}",
        worker_group_for(site, first),
        pieces=len(ids),
        trials=[trials[trial_id].to_json() for trial_id in ids],
    )


def _failures(
    site: StageRunner, ids: Sequence[str], outcome: TaskResult
) -> Mapping[str, Mapping[str, str]]:
    """Return cause and traceback of the members of a pack that failed.

    Of a pack that was lost these are all that the ledger lacks.
    """
    if outcome.value is not None:
        failed: Mapping[str, Mapping[str, str]] = outcome.value["failed"]
        return failed
    kept = site.study.ledger.ids()
    why = {"cause": outcome.cause, "traceback": outcome.traceback}
    return {trial_id: why for trial_id in ids if trial_id not in kept}


def _broken(study: Study, trial: Trial, broken: Mapping[str, TaskResult]) -> TaskResult | None:
    """Return why a trial cannot run: the first of its encoder jobs that failed."""
    if not broken:
        return None
    jobs = (encoder_job_for(feature, trial) for feature in trial.arm.features)
    ids = [study.data.job_id(job) for job in jobs if job is not None]
    return next((broken[job_id] for job_id in ids if job_id in broken), None)
