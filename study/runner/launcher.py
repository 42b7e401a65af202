"""Launch a study: run what is missing, keep the pages up to date, print the comparison."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from statistics import fmean

from rich.console import Console

from study.analysis.arm_scores import ScorePool, build_score_pool
from study.analysis.comparison import compare_arms
from study.config.study import BudgetMeter, StudySpec
from study.errors import InputError, StorageError, StudyError
from study.executors.base import Executor
from study.executors.factory import build_executor
from study.planning.contrasts import build_contrasts, format_unequal_parameters
from study.planning.trials import Trial
from study.progress import CallbackList, ProgressCallback, build_progress
from study.reporting.formatting import format_count, render_table
from study.reporting.tables import COLUMNS, comparison_frame, format_caveats
from study.results.study_results import Study, StudyResults
from study.results.summary import format_failures
from study.results.versions import VersionResults, complete_arms, find_versions
from study.runner.prepare import check_unchanged, prepare, write_study_folder
from study.runner.stages import (
    StageRunner,
    encoder_tasks,
    make_features,
    run_encoders,
    run_trials,
    worker_group_for,
)
from study.runner.status import ProgressFile, state_file
from study.runner.stopping import StopSignal
from study.storage.lock import StudyLock
from study.tracking.background import BackgroundSync, TrackingStore
from study.tracking.open import build_store
from study.training.evaluation import run_average_trial

_log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that the pages of an interrupted launch are waited for."""


@dataclass(frozen=True)
class KeptResults:
    """Results of other versions that a launch leaves as they are.

    Attributes
    ----------
    arms : frozenset of str
        Arms that some version has all trials of: none of their trials is run.
    shown : VersionResults
        The version that is shown when the launch ends.
    """

    arms: frozenset[str]
    shown: VersionResults


@dataclass(frozen=True)
class LaunchWork:
    """The trials of a launch by identity, and which of them are known already."""

    trials: Mapping[str, Trial]
    known: frozenset[str]

    def missing(self, *, averages: bool) -> dict[str, Trial]:
        """Return unknown trials: those to fit, or those that average others."""
        return {
            trial_id: trial
            for trial_id, trial in self.trials.items()
            if trial_id not in self.known
            and (trial.arm.technique == "independent_mean") == averages
        }


def launch(
    study: Study,
    executor: Executor,
    pages: TrackingStore | None,
    reporter: ProgressCallback,
    stop: StopSignal | None = None,
    kept: KeptResults | None = None,
) -> StudyResults:
    """Run what the ledger lacks and return the study as it stands afterwards.

    A failing trial stops no other: it is recorded with its cause. Results are in the ledger
    before anything else hears of them, so an interrupted launch goes on where it was. All trials
    are run with the current version; with `kept`, results of another one are returned.

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
    stop, meter = stop or StopSignal(reporter.note), BudgetMeter(study.spec.run.budget)
    shown = _shown(study, kept) if kept else study
    work = _plan_work(study, kept)
    if pages is None:
        _run(StageRunner(study, executor, reporter, stop, meter), work, lambda: None)
        return shown.read_results()
    projector = BackgroundSync(pages, shown.read_results, reporter.note)
    told = CallbackList(reporter, ProgressFile(projector.tell))
    with closing(projector):
        try:
            _run(StageRunner(study, executor, told, stop, meter), work, projector.due)
        except (KeyboardInterrupt, StudyError):
            _leave(projector, shown)
            raise
        record = shown.read_results()
        projector.finish(record, hurried=lambda: stop.interrupted)
    return record


def _leave(projector: BackgroundSync, study: Study) -> None:
    """Show a launch that ends early as it stands, if the pages answer soon."""
    try:
        projector.finish(study.read_results(), stopped=True, patience=PATIENCE)
    except StudyError:  # what ended the launch is told; pages are made up for by the next one
        return


def _shown(study: Study, kept: KeptResults) -> Study:
    """Return a study with the identities of the version that is shown."""
    return replace(study, data=kept.shown.applied_to(study.data))


def _plan_work(study: Study, kept: KeptResults | None) -> list[Trial]:
    """Return the trials of a launch: of all arms but those kept, with the members of averages."""
    trials = list(study.plan.trials())
    if kept is None:
        return trials
    chosen = [trial for trial in trials if trial.arm.id not in kept.arms]
    arms = {each.arm.id for trial in chosen for each in (trial, *trial.members())}
    return [trial for trial in trials if trial.arm.id in arms]


def _run(site: StageRunner, trials: Sequence[Trial], due: Callable[[], None]) -> None:
    """Run every stage; `due` hears that there is something new to show."""
    work = _work(site, trials)
    fits = work.missing(averages=False)
    due()
    if fits:
        encoders = encoder_tasks(site, fits.values())
        _log.info("to run: %d encoder jobs, %d trials", len(encoders), len(fits))
        crews = {task.crew for task in encoders} | {
            worker_group_for(site, t) for t in fits.values()
        }
        site.executor.require({crew for crew in crews if crew})
        make_features(site, fits.values())
        run_trials(site, fits, run_encoders(site, encoders), due)
    _average(site, work.missing(averages=True))


def _work(site: StageRunner, chosen: Sequence[Trial]) -> LaunchWork:
    study = site.study
    trials = {study.data.trial_id(trial): trial for trial in chosen}
    known, damaged = study.ledger.sound(trials)
    for place in damaged:
        site.reporter.note(f"damaged record set aside, its trial runs again: {place}")
    site.reporter.note(f"{len(trials)} trials, {len(known)} already in the ledger")
    return LaunchWork(trials, frozenset(known))


def _average(site: StageRunner, averages: Mapping[str, Trial]) -> None:
    """Average the scores of members; nothing is trained, so the driver does it."""
    if not averages:
        return
    study = site.study
    known = study.ledger.ids()
    for trial_id, trial in averages.items():
        members = {study.data.trial_id(member): member for member in trial.members()}
        absent = [str(member) for key, member in members.items() if key not in known]
        if absent and site.stop.asked:
            continue  # a budget is reached: it is missing, like its members
        if absent:
            site.fail(trial_id, trial, f"its member {absent[0]} has no result")
            continue
        results = [study.ledger.get(member_id) for member_id in members]
        study.ledger.put(run_average_trial(trial, results, study.data))


class OtherVersions(StrEnum):
    """What a launch does that finds finished trials of another version."""

    REFUSE = "refuse"
    RERUN = "rerun"
    """Train them anew with the current version; the old results stay and stay readable."""
    KEEP = "keep"
    """Train only the arms that no version has finished, each of them whole."""


@dataclass(frozen=True)
class LaunchOptions:
    """How `study launch` is to run.

    Attributes
    ----------
    ray, mlflow : bool
        On Ray; with tracking pages.
    extend : bool
        The file may ask for more than the one launched before.
    wait : bool
        Wait while another launch of the study runs.
    others : OtherVersions
        What to do about finished trials of other versions.
    """

    ray: bool = True
    mlflow: bool = True
    extend: bool = False
    wait: bool = False
    others: OtherVersions = OtherVersions.REFUSE


Cost = Callable[[StudySpec, VersionResults], str]
"""Says what training a study anew takes, of which another version has results."""


def run_study(spec: StudySpec, asked: LaunchOptions, cost: Cost | None = None) -> bool:
    """Launch a study and print its table; return whether every trial has finished.

    Parameters
    ----------
    spec : StudySpec
    asked : LaunchOptions
    cost : function, optional
        Asked where finished trials of another version would be trained anew.

    Raises
    ------
    InputError
        Something was asked that cannot be, or it was not said what becomes of results of another
        version; nothing was run.
    LockedError
        Another launch of the study runs.
    KeyboardInterrupt
        Ctrl-C; everything that had finished is kept.
    """
    console = Console()
    screen = build_progress(console)
    study = _prepared(spec, screen.note)
    pages = build_store(study.spec.run) if asked.mlflow else None
    folder = study.home
    folder.prepare()
    try:
        with (
            StudyLock(folder).held(wait=asked.wait, note=screen.note) as lock,
            closing(state_file(folder)) as state,  # only the owner writes how far it is
        ):
            kept = _check_versions(study, asked, cost)
            record = _launch(study, asked, pages, CallbackList(screen, state), lock, kept)
    finally:
        screen.close()
    found = find_versions(study.plan, study.data, study.ledger)
    versions = tuple(sorted(found, key=lambda version: version.version != record.version))
    shown = replace(record.study, versions=versions)
    print_results(replace(record, study=shown), console)
    _places(study, pages, console)
    if kept is None:
        return record.missing == 0
    return len(complete_arms(study.plan, study.data, found)) == len(study.plan.arms)


def _check_versions(study: Study, asked: LaunchOptions, cost: Cost | None) -> KeptResults | None:
    """Look for finished trials that another version made; return what is kept of them.

    Raises
    ------
    InputError
        There are such trials, and it was not said what becomes of them.
    """
    found = find_versions(study.plan, study.data, study.ledger)
    others = [each for each in found if not each.current]
    current = next(each for each in found if each.current)
    again = {
        trial_id
        for each in others
        for trial, trial_id in _ids(study, each)
        if trial_id in each.ids and study.data.trial_id(trial) not in current.ids
    }
    if not again or asked.others == OtherVersions.RERUN:
        return None
    if asked.others == OtherVersions.KEEP:
        return KeptResults(complete_arms(study.plan, study.data, found), found[0])
    time = f": {cost(study.spec, others[0])}" if cost else ""
    raise InputError(
        f"study '{study.spec.name}' has finished trials of another version: "
        f"{'; '.join(map(str, others))}; trials are now made by {current}. Training them anew "
        f"is {format_count(len(again), 'trial')}{time}. Nothing was run. Add "
        "--rerun to train them with the current version (the old results stay, --version shows "
        "them), or --keep to leave them: then only arms that no version has finished are trained, "
        "and no comparison has arms of two versions"
    )


def _ids(study: Study, found: VersionResults) -> Iterator[tuple[Trial, str]]:
    """Yield the trials of a study with their identities under a version."""
    trial_id = found.applied_to(study.data).trial_id
    return ((trial, trial_id(trial)) for trial in study.plan.trials())


def _prepared(spec: StudySpec, note: Callable[[str], None]) -> Study:
    """Prepare a study; a storage that cannot be written is bad input as long as nothing ran."""
    try:
        return prepare(spec, note)
    except StorageError as error:
        raise InputError(
            f"{error}; or give another folder with 'run.storage' or --storage"
        ) from error


def _launch(
    study: Study,
    asked: LaunchOptions,
    pages: TrackingStore | None,
    told: ProgressCallback,
    lock: StudyLock,
    kept: KeptResults | None,
) -> StudyResults:
    """Launch under the lock of the study."""
    changed = check_unchanged(study, extend=asked.extend)
    if changed:
        told.note(changed)
    for said in write_study_folder(study):
        told.note(said)
    stop = StopSignal(told.note, lambda: lock.lost)
    executor = build_executor(**study.spec.run.executor_options(), ray=asked.ray, check=stop.check)
    with stop.listening(), closing(executor):
        return launch(study, executor, pages, told, stop, kept)


def print_results(record: StudyResults, console: Console) -> None:
    """Print the table of a study, what to know before reading it, and what is missing."""
    data = record.data.dataset
    head = (
        f"\n{record.spec.name}: {len(data)} molecules x {len(data.label_names)} labels, "
        f"{record.spec.split.groups} groups, {record.plan.per_arm} trials an arm"
    )
    pool = build_score_pool(record)
    compared = compare_arms([pool])
    lines = [head, render_table(comparison_frame(compared), COLUMNS, "table").rstrip("\n")]
    lines += [*format_caveats(compared), *_weight_lines(pool), *format_failures(record.failures)]
    lines += record.version_lines
    if record.missing and record.version_lines:
        lines.append(f"missing in this version: {format_count(record.missing, 'trial')}")
    elif record.missing:
        lines.append(f"{record.missing} trials are missing; launch again to run them")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _weight_lines(pool: ScorePool) -> list[str]:
    """Say which compared arms differ by more than 2 % in trained weights."""
    weights = {
        arm_id: fmean(result.counts["parameters"] for result in results)
        for arm_id, results in pool.results.items()
        if results
    }
    return format_unequal_parameters(build_contrasts(pool.spec, pool.plan), weights)


def _places(study: Study, pages: TrackingStore | None, console: Console) -> None:
    """Say where the results are, and the command that shows the pages."""
    lines = [f"results: {study.ledger.storage.url}"]
    uri = getattr(pages, "uri", None)
    if uri is not None and uri.startswith("http"):
        lines.append(f"pages:   {uri}")
    elif uri is not None:
        beside = Path(sys.executable).with_name("mlflow")
        program = "mlflow" if shutil.which("mlflow") or not beside.exists() else str(beside)
        lines.append(f"pages:   {program} ui --backend-store-uri {uri}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
