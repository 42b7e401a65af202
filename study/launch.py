"""Running a study: features, encoder jobs, trials, averages - only what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from study.budget import Meter
from study.cells import TrialSpec
from study.embeddings import job_of
from study.errors import StudyError
from study.executor import Executor, Outcome, Task
from study.prepare import Prepared
from study.progress import Reporter, Together
from study.projector import Pages, Projector
from study.record import StudyRecord, read_record
from study.rereading import Rereader
from study.stages import Site, encoder_tasks, make_features, run_encoders, trial_task
from study.state import Counting
from study.stopping import Stop

PATIENCE = 5.0
"""Seconds that the pages of an interrupted launch are waited for."""


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
    study: Prepared,
    executor: Executor,
    pages: Pages | None,
    reporter: Reporter,
    stop: Stop | None = None,
) -> StudyRecord:
    """Run what the ledger lacks and return the study as it stands afterwards.

    A failing trial stops no other: it is recorded with its cause. Results are in the ledger
    before anything else hears of them, so an interrupted launch goes on where it was.

    Raises
    ------
    InputError
        A molecule of the table cannot be represented in a modality that is asked for; or a
        training asks for more workers or GPUs than there are.
    StorageError
        A result could not be kept.
    KeyboardInterrupt
        `stop` was asked for; what had finished is kept.
    """
    stop, meter = stop or Stop(reporter.note), Meter(study.spec.run.budget)
    if pages is None:
        return _run(Site(study, executor, reporter, stop, meter), lambda: None)
    projector = Projector(pages, Rereader(study), reporter.note)
    told = Together(reporter, Counting(projector.tell))
    try:
        record = _run(Site(study, executor, told, stop, meter), projector.due)
    except (KeyboardInterrupt, StudyError):
        _leave(projector, study)
        raise
    projector.finish(record, hurried=lambda: stop.interrupted)
    return record


def _leave(projector: Projector, study: Prepared) -> None:
    """Show a launch that ends early as it stands, if the pages answer soon."""
    try:
        record = read_record(study.spec, study.plan, study.inputs, study.ledger)
        projector.finish(record, stopped=True, patience=PATIENCE)
    except StudyError:  # what ended the launch is told; pages are made up for by the next one
        return


def _run(site: Site, due: Callable[[], None]) -> StudyRecord:
    """Run every stage; `due` hears that there is something new to show."""
    study, work = site.study, _work(site)
    fits = work.missing(averages=False)
    due()
    if fits:
        encoders = encoder_tasks(site, fits.values())
        tasks = {trial_id: trial_task(site, trial_id, trial) for trial_id, trial in fits.items()}
        crews = {task.crew for task in [*encoders, *tasks.values()] if task.crew}
        site.executor.require(crews)
        make_features(site, fits.values())
        broken = run_encoders(site, encoders)
        _fit(site, fits, tasks, broken, due)
    _average(site, work.missing(averages=True))
    return read_record(study.spec, study.plan, study.inputs, study.ledger)


def _work(site: Site) -> Work:
    study = site.study
    trials = {study.inputs.trial_id(trial): trial for trial in study.plan.trials()}
    known, damaged = study.ledger.sound(trials)
    for place in damaged:
        site.reporter.note(f"damaged record set aside, its trial runs again: {place}")
    site.reporter.note(f"{len(trials)} trials, {len(known)} already in the ledger")
    return Work(trials, frozenset(known))


def _fit(
    site: Site,
    fits: Mapping[str, TrialSpec],
    tasks: Mapping[str, Task],
    broken: Mapping[str, str],
    due: Callable[[], None],
) -> None:
    """Run the trials; those whose encoder failed fail with its cause."""
    causes = {trial_id: _broken(site.study, trial, broken) for trial_id, trial in fits.items()}
    for trial_id, cause in causes.items():
        if cause:
            site.fail(trial_id, fits[trial_id], cause)
    able = [task for trial_id, task in tasks.items() if not causes[trial_id]]
    left = Counter(fits[task.id].cell.id for task in able)

    def told(outcome: Outcome) -> None:
        trial = fits[outcome.id]
        if not outcome.finished:
            site.fail(outcome.id, trial, outcome.cause)
        left[trial.cell.id] -= 1
        if left[trial.cell.id] == 0:
            due()

    most = site.study.spec.run.budget.trials or len(able)
    site.run(site.grid, able[:most], "trials", told)
    if most < len(able):
        site.stop.spend(f"run.budget.trials: {most} is reached, {len(able)} were missing")


def _average(site: Site, averages: Mapping[str, TrialSpec]) -> None:
    """Average the scores of members; nothing is trained, so the driver does it."""
    if not averages:
        return
    from study.trial import average_trial

    study = site.study
    known = study.ledger.ids()
    for trial_id, trial in averages.items():
        members = {study.inputs.trial_id(member): member for member in trial.members()}
        absent = [str(member) for key, member in members.items() if key not in known]
        if absent and site.stop.asked:
            continue  # a budget is reached: it is missing, like its members
        if absent:
            site.fail(trial_id, trial, f"its member {absent[0]} has no result")
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
