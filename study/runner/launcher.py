"""Launch a study: run missing trials, keep the tracking pages up to date, print the comparison."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from statistics import fmean

from rich.console import Console

from study.analysis.arm_scores import ScorePool, build_score_pool
from study.analysis.comparison import compare_arms
from study.config.study import BudgetMeter, StudySpec
from study.errors import InputError, StorageError, StudyError
from study.executors.base import Executor, LocalExecutor
from study.executors.factory import build_executor
from study.planning.contrasts import build_contrasts, format_unequal_parameters
from study.planning.trials import Trial
from study.plugins.loading import refuse_session_components
from study.progress import CallbackList, ProgressCallback, build_progress
from study.reporting.formatting import format_count, render_table
from study.reporting.tables import COLUMNS, build_comparison_frame, format_caveats
from study.results.study_results import ResultSnapshot, Study
from study.results.summary import format_failures
from study.results.versions import VersionResults, complete_arms, find_versions
from study.runner.prepare import check_unchanged, prepare, write_study_folder
from study.runner.stages import (
    StageRunner,
    build_encoder_tasks,
    choose_worker_group,
    make_features,
    run_encoders,
    run_trials,
)
from study.runner.status import ProgressFile, build_progress_file
from study.runner.stopping import StopSignal
from study.storage.lock import StudyLock
from study.tracking.background import BackgroundSync, TrackingStore
from study.tracking.open import build_store
from study.training.evaluation import run_average_trial

_log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that an interrupted launch waits until its pages are written."""


@dataclass(frozen=True)
class KeptResults:
    """Results of other versions that a launch with ``--keep`` does not reproduce.

    Attributes
    ----------
    arms : frozenset of str
        Arms with all their trials in some version: none of their trials is run.
    displayed : VersionResults
        The version that is printed when the launch ends.
    """

    arms: frozenset[str]
    displayed: VersionResults


@dataclass(frozen=True)
class LaunchWork:
    """The trials of a launch by identity, and those that are already in the ledger."""

    trials: Mapping[str, Trial]
    known: frozenset[str]

    def missing(self, *, averages: bool) -> dict[str, Trial]:
        """Return the missing trials: those to fit, or those that average others."""
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
) -> ResultSnapshot:
    """Run the trials that the ledger lacks and return the results of the study.

    A failed trial does not stop the others; its cause is recorded. A result is written to the
    ledger before anything else is done with it, so an interrupted launch can be resumed. All
    trials are run with the current version; with `kept`, results of another one are returned.

    Raises
    ------
    InputError
        A molecule of the table cannot be represented in a modality of the study, or a training
        needs more workers or GPUs than there are, or a component was registered in this process
        and the executor runs other processes.
    StorageError
        A result could not be written.
    KeyboardInterrupt
        `stop` was requested; finished results are in the ledger.
    """
    if not isinstance(executor, LocalExecutor):
        refuse_session_components(study.plan.components())
    stop, meter = stop or StopSignal(reporter.note), BudgetMeter(study.spec.run.budget)
    displayed = _apply_version(study, kept) if kept else study
    trials = _select_trials(study, kept)
    if pages is None:
        _run_stages(StageRunner(study, executor, reporter, stop, meter), trials, lambda: None)
        return displayed.read_snapshot()
    sync = BackgroundSync(pages, displayed.read_snapshot, reporter.note)
    callbacks = CallbackList(reporter, ProgressFile(sync.report_progress))
    with closing(sync):
        try:
            _run_stages(
                StageRunner(study, executor, callbacks, stop, meter), trials, sync.request_sync
            )
        except (KeyboardInterrupt, StudyError):
            _sync_stopped(sync, displayed)
            raise
        results = displayed.read_snapshot()
        sync.finish(results, should_stop=lambda: stop.interrupted)
    return results


def _sync_stopped(sync: BackgroundSync, study: Study) -> None:
    """Write the pages of a launch that ends early, if the store answers in time."""
    try:
        sync.finish(study.read_snapshot(), stopped=True, patience=PATIENCE)
    except StudyError:  # the error that ended the launch is reported; the next launch syncs
        return


def _apply_version(study: Study, kept: KeptResults) -> Study:
    """Return a study with the identities of the version that is displayed."""
    return replace(study, data=kept.displayed.applied_to(study.data))


def _select_trials(study: Study, kept: KeptResults | None) -> list[Trial]:
    """Return the trials of all arms that are not kept, and of the members of their averages."""
    trials = list(study.plan.trials())
    if kept is None:
        return trials
    selected = [trial for trial in trials if trial.arm.id not in kept.arms]
    arms = {member.arm.id for trial in selected for member in (trial, *trial.members())}
    return [trial for trial in trials if trial.arm.id in arms]


def _run_stages(
    stage_runner: StageRunner, trials: Sequence[Trial], on_change: Callable[[], None]
) -> None:
    """Run every stage; `on_change` is called when the pages are out of date."""
    work = _find_work(stage_runner, trials)
    fits = work.missing(averages=False)
    on_change()
    if fits:
        encoders = build_encoder_tasks(stage_runner, fits.values())
        _log.info("to run: %d encoder jobs, %d trials", len(encoders), len(fits))
        groups = {task.worker_group for task in encoders}
        groups |= {choose_worker_group(stage_runner, trial) for trial in fits.values()}
        stage_runner.executor.require({group for group in groups if group})
        make_features(stage_runner, fits.values())
        run_trials(stage_runner, fits, run_encoders(stage_runner, encoders), on_change)
    _average_members(stage_runner, work.missing(averages=True))


def _find_work(stage_runner: StageRunner, selected: Sequence[Trial]) -> LaunchWork:
    """Look up the selected trials in the ledger, and report how many are there."""
    study, note = stage_runner.study, stage_runner.reporter.note
    trials = {study.data.trial_id(trial): trial for trial in selected}
    known, damaged = study.ledger.find_intact(trials)
    for path in damaged:
        note(f"damaged record set aside, its trial runs again: {path}")
    if trials:
        note(f"{len(trials)} trials, {len(known)} already in the ledger")
    else:  # only with --keep, where every arm has complete results
        arms = format_count(len(study.plan.arms), "arm")
        note(f"nothing to train: complete results of {arms} are kept")
    return LaunchWork(trials, frozenset(known))


def _average_members(stage_runner: StageRunner, averages: Mapping[str, Trial]) -> None:
    """Average the scores of members in the driver, since nothing is trained."""
    if not averages:
        return
    study = stage_runner.study
    known = study.ledger.ids()
    for trial_id, trial in averages.items():
        members = {study.data.trial_id(member): member for member in trial.members()}
        absent = [str(member) for key, member in members.items() if key not in known]
        if absent and stage_runner.stop.requested:
            continue  # a budget is reached: the average is missing, like its members
        if absent:
            stage_runner.fail(trial_id, trial, f"its member {absent[0]} has no result")
            continue
        results = [study.ledger.get(member_id) for member_id in members]
        study.ledger.put(run_average_trial(trial, results, study.data))


class OtherVersions(StrEnum):
    """What a launch does about finished trials of another version."""

    REFUSE = "refuse"
    RERUN = "rerun"
    """Run them again with the current version; the old results stay readable."""
    KEEP = "keep"
    """Run only arms that no version has finished, with all their trials."""


@dataclass(frozen=True)
class LaunchOptions:
    """Options of `study launch`.

    Attributes
    ----------
    ray, mlflow : bool
        Whether to run on Ray, and to write tracking pages.
    extend : bool
        Whether the file may add trials to those of the file launched before.
    wait : bool
        Whether to wait while another launch of the study runs.
    others : OtherVersions
        What to do about finished trials of other versions.
    """

    ray: bool = True
    mlflow: bool = True
    extend: bool = False
    wait: bool = False
    others: OtherVersions = OtherVersions.REFUSE


FormatCost = Callable[[StudySpec, VersionResults], str]
"""Returns a text about the cost of training a study again that another version has results of."""


@dataclass(frozen=True)
class LaunchOutcome:
    """What a launch leaves.

    Attributes
    ----------
    results : ResultSnapshot
    complete : bool
        Whether every trial has finished, in some version if results of other versions are kept.
    pages : TrackingStore or None
    """

    results: ResultSnapshot
    complete: bool
    pages: TrackingStore | None


def launch_study(
    spec: StudySpec,
    options: LaunchOptions,
    progress: ProgressCallback,
    format_cost: FormatCost | None = None,
) -> LaunchOutcome:
    """Run the missing trials of a study.

    Parameters
    ----------
    spec : StudySpec
    options : LaunchOptions
    progress : ProgressCallback
    format_cost : function, optional
        Called if finished trials of another version would be trained again.

    Raises
    ------
    InputError
        The study cannot be run as requested, or there are results of another version and the
        options do not say what to do about them; nothing was run.
    LockedError
        Another launch of the study runs.
    KeyboardInterrupt
        Ctrl-C; finished results are in the ledger.
    """
    study = _prepare(spec, progress.note)
    pages = build_store(study.spec.run) if options.mlflow else None
    folder = study.home
    folder.prepare()
    with (
        StudyLock(folder).hold(wait=options.wait, note=progress.note) as lock,
        closing(build_progress_file(folder)) as state,  # only the lock's holder writes it
    ):
        kept = _check_versions(study, options, format_cost)
        results = _launch(study, options, pages, CallbackList(progress, state), lock, kept)
    versions = find_versions(study.plan, study.data, study.ledger)
    # The version of the results comes first.
    ordered = tuple(sorted(versions, key=lambda version: version.version != results.version))
    shown = replace(results, study=replace(results.study, versions=ordered))
    if kept is None:
        return LaunchOutcome(shown, shown.missing == 0, pages)
    finished = complete_arms(study.plan, study.data, versions)
    return LaunchOutcome(shown, len(finished) == len(study.plan.arms), pages)


def run_study(
    spec: StudySpec, options: LaunchOptions, format_cost: FormatCost | None = None
) -> bool:
    """Launch a study with progress on the screen, and print its table.

    Parameters and errors as of `launch_study`. Returns whether every trial has finished.
    """
    console = Console()
    screen = build_progress(console)
    try:
        outcome = launch_study(spec, options, screen, format_cost)
    finally:
        screen.close()
    print_results(outcome.results, console)
    _print_locations(outcome.results.study, outcome.pages, console)
    return outcome.complete


def _check_versions(
    study: Study, options: LaunchOptions, format_cost: FormatCost | None
) -> KeptResults | None:
    """Look for finished trials of other versions; return those to keep.

    Raises
    ------
    InputError
        There are such trials, and the options do not say what to do about them.
    """
    versions = find_versions(study.plan, study.data, study.ledger)
    others = [version for version in versions if not version.current]
    current = next(version for version in versions if version.current)
    repeated = {
        trial_id
        for version in others
        for trial, trial_id in _iterate_ids(study, version)
        if trial_id in version.ids and study.data.trial_id(trial) not in current.ids
    }
    if not repeated or options.others == OtherVersions.RERUN:
        return None
    if options.others == OtherVersions.KEEP:
        return KeptResults(complete_arms(study.plan, study.data, versions), versions[0])
    cost = f": {format_cost(study.spec, others[0])}" if format_cost else ""
    raise InputError(
        f"study '{study.spec.name}' has finished trials of another version: "
        f"{'; '.join(map(str, others))}; trials are now made by {current}. Training them again "
        f"takes {format_count(len(repeated), 'trial')}{cost}. Nothing was run. Add "
        "--rerun to train them with the current version (the old results stay, --version shows "
        "them), or --keep to keep them: then only arms that no version has finished are trained, "
        "and no comparison mixes arms of two versions"
    )


def _iterate_ids(study: Study, version: VersionResults) -> Iterator[tuple[Trial, str]]:
    """Yield the trials of a study with their identities under a version."""
    trial_id = version.applied_to(study.data).trial_id
    return ((trial, trial_id(trial)) for trial in study.plan.trials())


def _prepare(spec: StudySpec, note: Callable[[str], None]) -> Study:
    """Prepare a study; while nothing has run, a storage that cannot be written is bad input."""
    try:
        return prepare(spec, note)
    except StorageError as error:
        raise InputError(
            f"{error}; or give another folder with 'run.storage' or --storage"
        ) from error


def _launch(
    study: Study,
    options: LaunchOptions,
    pages: TrackingStore | None,
    reporter: ProgressCallback,
    lock: StudyLock,
    kept: KeptResults | None,
) -> ResultSnapshot:
    """Launch a study whose lock is held."""
    change = check_unchanged(study, extend=options.extend)
    if change:
        reporter.note(change)
    for message in write_study_folder(study):
        reporter.note(message)
    stop = StopSignal(reporter.note, lambda: lock.lost)
    run_options = study.spec.run.executor_options()
    executor = build_executor(**run_options, ray=options.ray, check=stop.check)
    in_main_thread = threading.current_thread() is threading.main_thread()
    # Elsewhere Python delivers no signals: the thread that started the launch gets Ctrl-C.
    listening = stop.listening() if in_main_thread else nullcontext()
    with listening, closing(executor):
        return launch(study, executor, pages, reporter, stop, kept)


def print_results(results: ResultSnapshot, console: Console) -> None:
    """Print the table of a study, its caveats, failures, versions and missing trials."""
    data = results.data.dataset
    head = (
        f"\n{results.spec.name}: {len(data)} molecules x {len(data.label_names)} labels, "
        f"{results.spec.split.groups} groups, {results.plan.trials_per_arm} trials an arm"
    )
    pool = build_score_pool(results)
    compared = compare_arms([pool])
    lines = [head, render_table(build_comparison_frame(compared), COLUMNS, "table").rstrip("\n")]
    lines += format_caveats(compared)
    lines += _format_unequal_weights(pool)
    lines += format_failures(results.failures)
    lines += results.version_lines
    if results.missing and results.version_lines:
        lines.append(f"missing in this version: {format_count(results.missing, 'trial')}")
    elif results.missing:
        lines.append(
            f"{results.missing} trials are missing; run the same command again to run them"
        )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _format_unequal_weights(pool: ScorePool) -> list[str]:
    """Name contrasts whose arms differ by more than 2 % in trained weights."""
    weights = {
        arm_id: fmean(result.counts["parameters"] for result in results)
        for arm_id, results in pool.results.items()
        if results
    }
    return format_unequal_parameters(build_contrasts(pool.spec, pool.plan), weights)


def _print_locations(study: Study, pages: TrackingStore | None, console: Console) -> None:
    """Print where the results are, and the address or command of the pages."""
    lines = [f"results: {study.ledger.storage.url}"]
    uri = getattr(pages, "uri", None)
    if uri is not None and uri.startswith("http"):
        lines.append(f"pages:   {uri}")
    elif uri is not None:
        installed = Path(sys.executable).with_name("mlflow")
        program = "mlflow" if shutil.which("mlflow") or not installed.exists() else str(installed)
        lines.append(f"pages:   {program} ui --backend-store-uri {uri}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
