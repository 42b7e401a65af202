"""Stages of a launch: features, encoder jobs, trials; each runs only missing tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from study.artifacts.embeddings import EncoderJob, encoder_job_for
from study.artifacts.study_data import build_modality
from study.artifacts.study_folder import SCRATCH
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

Execute = Callable[[Sequence[Task], TaskCallback], None]
"""A method of an executor that runs tasks."""
OnResult = Callable[[TaskResult], None]


@dataclass(frozen=True, eq=False)
class StageRunner:
    """Runs the stages of a launch with its executor, reporter, stop signal and budget."""

    study: Study
    executor: Executor
    reporter: ProgressCallback
    stop: StopSignal
    meter: BudgetMeter

    def run(
        self, execute: Execute, tasks: Sequence[Task], name: str, on_result: OnResult | None = None
    ) -> list[TaskResult]:
        """Run a stage and return the results of the tasks that failed.

        Raises
        ------
        KeyboardInterrupt, LockedError
            The launch was stopped; finished results are in the ledger.
        StorageError
            The storage cannot be written; finished results are in the ledger.
        """
        callback = _StageCallback(self, on_result, tasks)
        before = self.study.data.quarantined()
        if tasks:
            self.reporter.stage(name, sum(task.pieces for task in tasks))
            execute(tasks, callback)
        for path in sorted(self.study.data.quarantined() - before):
            self.reporter.note(f"damaged file set aside and made again: {path}")
        self.stop.check()
        return callback.failed

    def grid(self, tasks: Sequence[Task], callback: TaskCallback) -> None:
        """Run encoder jobs or trials."""
        self.executor.grid(tasks, callback, folder=self.study.home.subfolder(SCRATCH).address)

    def build_payload(self, **fields: object) -> dict[str, Any]:
        """Return the payload of an encoder job or pack: common fields, and its own."""
        study = self.study
        return {
            "study": study.home.address,
            "digest": study.key,
            "ledger": study.ledger.storage.address,
            "threads": max(1, int(study.spec.run.cpus_per_trial)),
            **fields,
        }

    def build_task(
        self,
        task_id: str,
        name: str,
        work: str,
        group: WorkerGroup | None,
        pieces: int = 1,
        **fields: object,
    ) -> Task:
        """Return the task of an encoder job or a pack; `fields` are its own part of the payload."""
        gpu = group is not None and group.gpus > 0
        return Task(task_id, work, self.build_payload(gpu=gpu, **fields), group, name, pieces)

    def spend(self, task: Task, seconds: float) -> None:
        """Count the CPU and GPU time of a task in the budget."""
        group = task.worker_group or WorkerGroup()
        cpus = group.workers * self.study.spec.run.cpus_per_trial
        self.meter.spend(seconds, cpus=cpus, gpus=group.workers * group.gpus)

    def fail(self, trial_id: str, trial: Trial, cause: str, traceback: str = "") -> None:
        """Record and report why a trial has no result."""
        failure = Failure(trial_id, str(trial), cause, redact(traceback))
        self.study.ledger.put_failure(failure)
        self.reporter.note(f"failed: {trial}: {cause}")

    def write_log(self, task_id: str, name: str, traceback: str) -> None:
        """Write the traceback of a failed task to the logs in the study's folder."""
        write_log(self.study.home, task_id, name, traceback)


class _StageCallback(TaskCallback):
    """Passes the events of a stage's tasks to the reporter, the budget and the logs."""

    def __init__(
        self, runner: StageRunner, on_result: OnResult | None, tasks: Sequence[Task]
    ) -> None:
        self._runner, self._on_result = runner, on_result
        self._tasks = {task.id: task for task in tasks}
        self.failed: list[TaskResult] = []

    @property
    def stopping(self) -> bool:
        reached = self._runner.meter.reached
        if reached:
            self._runner.stop.spend(reached)
        return self._runner.stop.requested

    @property
    def hurried(self) -> bool:
        return self._runner.stop.hurried

    def began(self, task_id: str) -> None:
        self._runner.reporter.began(self._tasks[task_id].pieces)

    def died(self, task_id: str, cause: str) -> None:
        self._runner.reporter.lost(self._tasks[task_id].pieces)
        self._runner.reporter.note(f"{self._tasks[task_id].name}: {cause}; retrying")

    def ended(self, result: TaskResult) -> None:
        # Not the trial's own failure; the next one would fail for the same reason.
        if result.kind is FailureKind.STORAGE_REFUSED:
            self._runner.stop.abort(StorageError(result.cause))
            return
        if result.value is None:
            name = self._tasks[result.id].name
            self._runner.write_log(result.id, name, result.traceback)
            self.failed.append(result)
        else:
            self._runner.spend(self._tasks[result.id], result.value.get("seconds", 0.0))
        if self._on_result is not None:
            self._on_result(result)
        pieces = self._tasks[result.id].pieces
        failed = pieces if result.value is None else len(result.value.get("failed", ()))
        self._runner.reporter.advance(pieces=pieces, failed=failed)


def make_features(runner: StageRunner, trials: Collection[Trial]) -> None:
    """Compute the missing features of every modality.

    Raises
    ------
    InputError
        A molecule of the table cannot be represented in a modality of the study.
    """
    before = runner.study.data.quarantined()
    tasks = [task for choice in _collect_choices(trials) for task in _shard_tasks(runner, choice)]
    for path in sorted(runner.study.data.quarantined() - before):
        runner.reporter.note(f"damaged features set aside and made again: {path}")
    failed = runner.run(runner.executor.map, tasks, "features")
    if failed:
        causes = "\n  ".join(dict.fromkeys(result.cause for result in failed))
        raise InputError(
            f"the table cannot be represented in every modality:\n  {causes}\n"
            "drop these molecules from the table or leave the modality out"
        )


def _shard_tasks(runner: StageRunner, choice: ModalityConfig) -> list[Task]:
    """Return tasks for the missing shards of a modality's features."""
    data = runner.study.data
    store, smiles = data.features_store, data.dataset.smiles
    common = {"store": data.features_address, "choice": choice.model_dump(mode="json")}
    return [
        Task(
            f"{choice.name} molecules of bucket {shard.bucket}",
            "study.training.tasks:featurize",
            {**common, "bucket": shard.bucket, "smiles": list(shard.smiles)},
        )
        for shard in store.missing(build_modality(choice), smiles)
    ]


def _collect_choices(trials: Collection[Trial]) -> list[ModalityConfig]:
    """Return the modalities of trials, each once."""
    features = {f.key: f for trial in trials for f in trial.arm.features}
    return [feature.config for feature in features.values()]


def build_encoder_tasks(runner: StageRunner, trials: Collection[Trial]) -> list[Task]:
    """Return tasks for the encoder jobs that trials need and the cache lacks."""
    data = runner.study.data
    jobs: dict[str, EncoderJob] = {}
    for trial in trials:
        for feature in trial.arm.features:
            job = encoder_job_for(feature, trial)
            if job is not None:
                jobs.setdefault(data.job_id(job), job)
    sound, damaged = data.embedding_store.find_intact(set(jobs))
    for path in damaged:
        runner.reporter.note(f"damaged embeddings set aside, their job runs again: {path}")
    return [
        runner.build_task(
            job_id,
            str(job),
            "study.training.tasks:encode",
            _choose_encoder_group(runner, job),
            job=job.to_json(),
        )
        for job_id, job in jobs.items()
        if job_id not in sound
    ]


def _choose_encoder_group(runner: StageRunner, job: EncoderJob) -> WorkerGroup:
    """Return the worker group of an encoder job: one worker if it trains nothing."""
    workers = job.feature.config.training.workers if job.fold_key else 1
    return WorkerGroup(workers, runner.study.spec.run.gpus_per_worker)


def run_encoders(runner: StageRunner, tasks: Collection[Task]) -> dict[str, TaskResult]:
    """Run encoder jobs; return the results of the failed ones, with their names in the causes."""
    failed = runner.run(runner.grid, list(tasks), "encoders")
    names = {task.id: task.name for task in tasks}
    return {
        result.id: replace(result, cause=f"{names[result.id]}: {result.cause}") for result in failed
    }


PACKS = 4
"""Packs per slot: enough for slots to finish at about the same time, and few enough to share."""
GIB = 1024**3


def choose_worker_group(runner: StageRunner, trial: Trial) -> WorkerGroup | None:
    """Return the worker group of a trial; None if it runs in one process on the CPU."""
    run = runner.study.spec.run
    if trial.arm.trains_encoders:
        return WorkerGroup(trial.arm.training.workers, run.gpus_per_worker)
    is_head = can_share_process(replace(trial, arm=replace(trial.arm, search=None)))
    return WorkerGroup(1, run.gpus_per_pack) if run.gpus_per_pack and is_head else None


def run_trials(
    runner: StageRunner,
    fits: Mapping[str, Trial],
    failed_jobs: Mapping[str, TaskResult],
    on_arm_end: Callable[[], None],
) -> None:
    """Run missing trials; one whose encoder job failed fails with the cause of the job.

    Parameters
    ----------
    runner : StageRunner
    fits : mapping of id to Trial
    failed_jobs : mapping of str to TaskResult
        Encoder jobs that failed, by identity.
    on_arm_end : function
        Called when all trials of an arm have ended.
    """
    failed = {key: _find_failed_job(runner.study, t, failed_jobs) for key, t in fits.items()}
    for trial_id, job in failed.items():
        if job is not None:
            runner.fail(trial_id, fits[trial_id], job.cause, job.traceback)
    runnable = {trial_id: trial for trial_id, trial in fits.items() if failed[trial_id] is None}
    most = runner.study.spec.run.budget.trials or len(runnable)
    selected = dict(list(runnable.items())[:most])
    left = Counter(trial.arm.id for trial in selected.values())
    packs = {_pack_id(ids): ids for ids in _group_into_packs(runner, selected)}

    def on_result(result: TaskResult) -> None:
        for trial_id, failure in _find_failures(runner, packs[result.id], result).items():
            trial, traceback = selected[trial_id], failure["traceback"]
            runner.fail(trial_id, trial, failure["cause"], traceback)
            if result.finished:  # only this trial failed; the log of a failed pack is written
                runner.write_log(trial_id, str(trial), traceback)
        arms = Counter(selected[trial_id].arm.id for trial_id in packs[result.id])
        left.subtract(arms)
        if any(left[arm] == 0 for arm in arms):
            on_arm_end()

    tasks = [_build_pack_task(runner, ids, selected) for ids in packs.values()]
    runner.run(runner.grid, tasks, "trials", on_result)
    if most < len(runnable):
        runner.stop.spend(f"run.budget.trials: {most} is reached, {len(runnable)} were missing")


def _group_into_packs(runner: StageRunner, trials: Mapping[str, Trial]) -> list[tuple[str, ...]]:
    """Group trials into packs, in the order of the plan since durations are not known yet."""
    if not trials:
        return []
    run = runner.study.spec.run
    slots = runner.executor.slots(WorkerGroup(1, run.gpus_per_pack))
    memory = int(run.pack_memory * GIB)
    # A time limit applies to each trial, and a process that exceeds it takes its whole pack with
    # it. With a limit, every trial therefore gets its own process.
    fewest = len(trials) if run.time_limit is not None else PACKS * slots
    return build_packs(trials, runner.study.data, memory, fewest=fewest)


def _pack_id(ids: Sequence[str]) -> str:
    """Return the identity of a pack: its first trial's, and the number of the others."""
    return ids[0] if len(ids) == 1 else f"{ids[0]}+{len(ids) - 1}"


def _build_pack_task(runner: StageRunner, ids: Sequence[str], trials: Mapping[str, Trial]) -> Task:
    """Return the task of a pack."""
    first = trials[ids[0]]
    more = f" and {len(ids) - 1} more trials" if len(ids) > 1 else ""
    function = "pack" if can_share_process(first) else "trial"
    return runner.build_task(
        _pack_id(ids),
        f"{first}{more}",
        f"study.training.tasks:{function}",
        choose_worker_group(runner, first),
        pieces=len(ids),
        trials=[trials[trial_id].to_json() for trial_id in ids],
    )


def _find_failures(
    runner: StageRunner, ids: Sequence[str], result: TaskResult
) -> Mapping[str, Mapping[str, str]]:
    """Return cause and traceback of each failed trial of a pack, by identity.

    If the whole pack failed, these are all its trials that are not in the ledger.
    """
    if result.value is not None:
        failed: Mapping[str, Mapping[str, str]] = result.value["failed"]
        return failed
    finished = runner.study.ledger.ids()
    failure = {"cause": result.cause, "traceback": result.traceback}
    return {trial_id: failure for trial_id in ids if trial_id not in finished}


def _find_failed_job(
    study: Study, trial: Trial, failed_jobs: Mapping[str, TaskResult]
) -> TaskResult | None:
    """Return the result of the first encoder job of a trial that failed, or None."""
    if not failed_jobs:
        return None
    jobs = (encoder_job_for(feature, trial) for feature in trial.arm.features)
    ids = [study.data.job_id(job) for job in jobs if job is not None]
    return next((failed_jobs[job_id] for job_id in ids if job_id in failed_jobs), None)
