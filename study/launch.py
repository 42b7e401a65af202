"""Running a study: features, encoder jobs, trials, averages - only what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from study.cells import TrialSpec
from study.embeddings import job_of
from study.errors import PagesError
from study.executor import Executor, Outcome, Task
from study.prepare import Prepared
from study.progress import Reporter
from study.record import StudyRecord, read_record
from study.result import TrialResult
from study.stages import Site, encoder_tasks, make_features, run_encoders, trial_task


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
        A molecule of the table cannot be represented in a modality that is asked for; or a
        training asks for more workers or GPUs than there are.
    """
    site = Site(study, executor, reporter)
    work = _work(site)
    fits = work.missing(averages=False)
    if fits:
        encoders = encoder_tasks(site, fits.values())
        tasks = {trial_id: trial_task(site, trial_id, trial) for trial_id, trial in fits.items()}
        executor.require({task.crew for task in [*encoders, *tasks.values()] if task.crew})
        make_features(site, fits.values())
        broken = run_encoders(site, encoders)
        _fit(site, fits, tasks, broken, pages)
    _average(site, work.missing(averages=True))
    record = read_record(study.spec, study.plan, study.inputs, study.ledger)
    if pages is not None:
        pages.sync(record)
    return record


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
    pages: Pages | None,
) -> None:
    """Run the trials; those whose encoder failed fail with its cause."""
    causes = {trial_id: _broken(site.study, trial, broken) for trial_id, trial in fits.items()}
    for trial_id, cause in causes.items():
        if cause:
            site.fail(trial_id, fits[trial_id], cause)
    able = [task for trial_id, task in tasks.items() if not causes[trial_id]]
    left = Counter(fits[task.id].cell.id for task in able)
    seen: dict[str, TrialResult] = {}

    def told(outcome: Outcome) -> None:
        trial = fits[outcome.id]
        if not outcome.finished:
            site.fail(outcome.id, trial, outcome.cause)
        left[trial.cell.id] -= 1
        if pages is not None and left[trial.cell.id] == 0:
            _show(site, pages, seen)

    site.run(site.grid, able, "trials", told)


def _show(site: Site, pages: Pages, seen: dict[str, TrialResult]) -> None:
    """Bring the pages up to date while the study runs; `seen` keeps what was read before."""
    study = site.study
    record = read_record(study.spec, study.plan, study.inputs, study.ledger, seen)
    seen.update(record.results)
    try:
        pages.sync(record, final=False)
    except PagesError as error:  # the study goes on; the last sync says it again
        site.reporter.note(str(error))


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
