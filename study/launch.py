"""Running a study: features, encoder jobs, trials, averages - only what is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from study.cells import TrialSpec
from study.choices import ModalityChoice
from study.embeddings import EncoderJob, job_of
from study.errors import InputError, PagesError
from study.executor import Executor, Outcome, Task
from study.inputs import modality_of
from study.ledger import Failure
from study.prepare import Prepared
from study.progress import Reporter
from study.record import StudyRecord, read_record


class Pages(Protocol):
    """Where results are shown; told after the ledger has them."""

    def sync(self, record: StudyRecord, *, final: bool = True) -> int:
        """Bring the pages up to the record."""


@dataclass(frozen=True)
class Work:
    """The trials of a launch by identity, and which of them are known already."""

    trials: Mapping[str, TrialSpec]
    known: frozenset[str]

    def missing(self, *, averages: bool) -> dict[str, TrialSpec]:
        """Return unknown trials: those to fit, or those that average others."""
        return {
            trial_id: trial
            for trial_id, trial in self.trials.items()
            if trial_id not in self.known
            and (trial.cell.technique == "independent_mean") == averages
        }


def launch(
    study: Prepared, executor: Executor, pages: Pages | None, reporter: Reporter
) -> StudyRecord:
    """Run what the ledger lacks and return the study as it stands afterwards.

    A failing trial stops no other: it is recorded with its cause. Results are in the ledger
    before anything else hears of them, so an interrupted launch goes on where it was.

    Raises
    ------
    InputError
        A molecule of the table cannot be represented in a modality that is asked for.
    """
    work = _work(study, reporter)
    fits = work.missing(averages=False)
    if fits:
        _features(study, fits.values(), executor, reporter)
        broken = _encode(study, fits.values(), executor, reporter)
        _fit(study, fits, broken, executor, pages, reporter)
    averages = work.missing(averages=True)
    if averages:
        _average(study, averages, reporter)
    record = read_record(study.spec, study.plan, study.inputs, study.ledger)
    if pages is not None:
        pages.sync(record)
    return record


def _work(study: Prepared, reporter: Reporter) -> Work:
    trials = {study.inputs.trial_id(trial): trial for trial in study.plan.trials()}
    known, damaged = study.ledger.sound(trials)
    for place in damaged:
        reporter.note(f"damaged record set aside, its trial runs again: {place}")
    reporter.note(f"{len(trials)} trials, {len(known)} already in the ledger")
    return Work(trials, frozenset(known))


def _features(
    study: Prepared, trials: Collection[TrialSpec], executor: Executor, reporter: Reporter
) -> None:
    """Make the missing features of every modality; the first stage, shared by all trials."""
    store = study.inputs.features_store
    tasks = []
    for choice in _choices(trials):
        modality = modality_of(choice)
        for shard in store.missing(modality, study.inputs.dataset.smiles):
            payload = {
                "store": str(store.root),
                "choice": choice.model_dump(mode="json"),
                "bucket": shard.bucket,
                "smiles": list(shard.smiles),
            }
            task_id = f"{choice.word} molecules of bucket {shard.bucket}"
            tasks.append(Task(task_id, "study.worker:featurize", payload))
    failed = _run(executor.map, tasks, "features", reporter)
    if failed:
        causes = "\n  ".join(dict.fromkeys(outcome.cause for outcome in failed))
        raise InputError(
            f"the table cannot be represented in every modality:\n  {causes}\n"
            "drop these molecules from the table or leave the modality out"
        )


def _choices(trials: Collection[TrialSpec]) -> list[ModalityChoice]:
    features = {f.key: f for trial in trials for f in trial.cell.features}
    return [feature.choice for feature in features.values()]


def _encode(
    study: Prepared, trials: Collection[TrialSpec], executor: Executor, reporter: Reporter
) -> dict[str, str]:
    """Run the encoder jobs that trials need; return the cause of each one that failed."""
    jobs: dict[str, EncoderJob] = {}
    for trial in trials:
        for feature in trial.cell.features:
            job = job_of(feature, trial)
            if job is not None:
                jobs.setdefault(study.inputs.job_id(job), job)
    sound, damaged = study.inputs.embedding_store.sound(set(jobs))
    for place in damaged:
        reporter.note(f"damaged embeddings set aside, their job runs again: {place}")
    tasks = [
        Task(job_id, "study.worker:encode", {**_common(study), "job": job.to_json()})
        for job_id, job in jobs.items()
        if job_id not in sound
    ]
    grid = _grid(study, executor)
    return {o.id: f"{jobs[o.id]}: {o.cause}" for o in _run(grid, tasks, "encoders", reporter)}


def _fit(
    study: Prepared,
    fits: Mapping[str, TrialSpec],
    broken: Mapping[str, str],
    executor: Executor,
    pages: Pages | None,
    reporter: Reporter,
) -> None:
    """Run the trials; those whose encoder failed fail with its cause."""
    causes = {trial_id: _broken(study, trial, broken) for trial_id, trial in fits.items()}
    for trial_id, cause in causes.items():
        if cause:
            _fail(study, trial_id, fits[trial_id], cause, reporter)
    tasks = [
        Task(trial_id, "study.worker:trial", {**_common(study), "trial": trial.to_json()})
        for trial_id, trial in fits.items()
        if not causes[trial_id]
    ]
    left = {trial.cell.id: 0 for trial in fits.values()}
    for task in tasks:
        left[fits[task.id].cell.id] += 1

    def told(outcome: Outcome) -> None:
        trial = fits[outcome.id]
        if not outcome.finished:
            _fail(study, outcome.id, trial, outcome.cause, reporter)
        left[trial.cell.id] -= 1
        if pages is not None and left[trial.cell.id] == 0:
            record = read_record(study.spec, study.plan, study.inputs, study.ledger)
            try:
                pages.sync(record, final=False)
            except PagesError as error:  # the study goes on; the last sync says it again
                reporter.note(str(error))

    _run(_grid(study, executor), tasks, "trials", reporter, told)


def _average(study: Prepared, averages: Mapping[str, TrialSpec], reporter: Reporter) -> None:
    """Average the scores of members; nothing is trained, so the driver does it."""
    from study.trial import average_trial

    known = study.ledger.ids()
    for trial_id, trial in averages.items():
        members = {study.inputs.trial_id(member): member for member in trial.members()}
        absent = [str(member) for key, member in members.items() if key not in known]
        if absent:
            _fail(study, trial_id, trial, f"its member {absent[0]} has no result", reporter)
            continue
        results = [study.ledger.get(member_id) for member_id in members]
        study.ledger.put(average_trial(trial, results, study.inputs))


def _broken(study: Prepared, trial: TrialSpec, broken: Mapping[str, str]) -> str:
    """Return why a trial cannot run: the first of its encoder jobs that failed."""
    if not broken:
        return ""
    jobs = (job_of(feature, trial) for feature in trial.cell.features)
    ids = [study.inputs.job_id(job) for job in jobs if job is not None]
    return next((broken[job_id] for job_id in ids if job_id in broken), "")


def _fail(study: Prepared, trial_id: str, trial: TrialSpec, cause: str, reporter: Reporter) -> None:
    study.ledger.put_failure(Failure(trial_id, str(trial), cause))
    reporter.note(f"failed: {trial}: {cause}")


def _common(study: Prepared) -> dict[str, Any]:
    threads = max(1, int(study.spec.run.cpus_per_trial))
    ledger = study.ledger.storage.url
    return {"study": str(study.folder), "digest": study.key, "ledger": ledger, "threads": threads}


Runner = Callable[[Sequence[Task], Callable[[Outcome], None]], None]


def _grid(study: Prepared, executor: Executor) -> Runner:
    scratch = str(study.folder / "scratch")
    return lambda tasks, on_done: executor.grid(tasks, on_done, folder=scratch)


def _run(
    runner: Runner,
    tasks: Sequence[Task],
    name: str,
    reporter: Reporter,
    told: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Run a stage and return the outcomes that failed."""
    failed: list[Outcome] = []
    if not tasks:
        return failed
    reporter.stage(name, len(tasks))

    def on_done(outcome: Outcome) -> None:
        if not outcome.finished:
            failed.append(outcome)
        if told is not None:
            told(outcome)
        reporter.advance()

    runner(tasks, on_done)
    return failed
