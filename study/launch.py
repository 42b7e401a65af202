"""Running a study: features, encoder jobs, trials, averages - only what is missing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from study.budget import Meter
from study.cells import TrialSpec
from study.errors import StudyError
from study.evaluation import average_trial
from study.executor import Executor
from study.fitting import crew_of, fit
from study.prepare import Prepared
from study.progress import Reporter, Together
from study.projector import Pages, Projector
from study.record import StudyRecord
from study.rereading import Rereader
from study.stages import Site, encoder_tasks, make_features, run_encoders
from study.state import Counting
from study.stopping import Stop

_log = logging.getLogger(__name__)

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
    stop, meter, read = stop or Stop(reporter.note), Meter(study.spec.run.budget), Rereader(study)
    if pages is None:
        _run(Site(study, executor, reporter, stop, meter), lambda: None)
        return read()
    projector = Projector(pages, read, reporter.note)
    told = Together(reporter, Counting(projector.tell))
    with closing(projector):
        try:
            _run(Site(study, executor, told, stop, meter), projector.due)
        except (KeyboardInterrupt, StudyError):
            _leave(projector, read)
            raise
        record = read()
        projector.finish(record, hurried=lambda: stop.interrupted)
    return record


def _leave(projector: Projector, read: Rereader) -> None:
    """Show a launch that ends early as it stands, if the pages answer soon."""
    try:
        projector.finish(read(), stopped=True, patience=PATIENCE)
    except StudyError:  # what ended the launch is told; pages are made up for by the next one
        return


def _run(site: Site, due: Callable[[], None]) -> None:
    """Run every stage; `due` hears that there is something new to show."""
    work = _work(site)
    fits = work.missing(averages=False)
    due()
    if fits:
        encoders = encoder_tasks(site, fits.values())
        _log.info("to run: %d encoder jobs, %d trials", len(encoders), len(fits))
        crews = {task.crew for task in encoders} | {crew_of(site, t) for t in fits.values()}
        site.executor.require({crew for crew in crews if crew})
        make_features(site, fits.values())
        fit(site, fits, run_encoders(site, encoders), due)
    _average(site, work.missing(averages=True))


def _work(site: Site) -> Work:
    study = site.study
    trials = {study.inputs.trial_id(trial): trial for trial in study.plan.trials()}
    known, damaged = study.ledger.sound(trials)
    for place in damaged:
        site.reporter.note(f"damaged record set aside, its trial runs again: {place}")
    site.reporter.note(f"{len(trials)} trials, {len(known)} already in the ledger")
    return Work(trials, frozenset(known))


def _average(site: Site, averages: Mapping[str, TrialSpec]) -> None:
    """Average the scores of members; nothing is trained, so the driver does it."""
    if not averages:
        return
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
