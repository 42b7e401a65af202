"""Synchronize a tracking store with the ledger."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Protocol

from study.analysis.arm_scores import ScorePool, build_score_pool_from_runs
from study.analysis.comparison import ArmComparison, compare_arms
from study.artifacts.version import Version, choose_version, merge_versions
from study.config.study import StudySpec
from study.errors import InputError
from study.plugins.loading import load_stored_plugins
from study.progress import Progress
from study.results.study_results import ResultSnapshot
from study.results.summary import ArmSummary
from study.results.trial_result import TrialResult
from study.results.versions import identify_version
from study.splits import Split
from study.storage.checksums import verify_checksum
from study.tracking.pages import (
    ARM_ID,
    NAME,
    PARENT,
    ROLE,
    STATE,
    VERSION,
    Metrics,
    PageContents,
    RunPage,
    StoredRun,
    WeightsPage,
    build_arm_page,
    build_contents,
    build_headline_metrics,
    build_opening_tags,
    build_study_tags,
    build_verdict,
    write_study_files,
)


class SyncStage(StrEnum):
    """State of a study at a synchronization.

    Only the runs of a study that has ended get the comparison, and only then the runs of arms that
    are no longer in the study are deleted.
    """

    RUNNING = "running"
    STOPPED = "stopped"
    ENDED = "ended"


class RunStore(Protocol):
    """A tracking store with one experiment per study, and one run for the study and each arm."""

    @property
    def uri(self) -> str:
        """Address without secrets."""

    def find_experiment(self, name: str) -> str | None:
        """Return the id of an experiment; None if it does not exist."""

    def open_experiment(self, name: str) -> str:
        """Return the id of an experiment; create it, or restore it if it was deleted."""

    def list_runs(self, experiment: str) -> list[StoredRun]:
        """Return all runs that this program wrote, the oldest first."""

    def create_run(self, experiment: str, name: str, tags: Mapping[str, str]) -> StoredRun:
        """Create a run."""

    def write_run(self, experiment: str, page: RunPage) -> StoredRun:
        """Create a run with its whole content, and close it."""

    def update_run(self, run: StoredRun, tags: Mapping[str, str], metrics: Metrics) -> None:
        """Update tags and metrics of a run; unchanged ones are not sent."""

    def log_dataset(self, run: StoredRun, results: ResultSnapshot) -> None:
        """Log the data set as input of a run, unless it is logged already."""

    def log_files(self, run: StoredRun, folder: Path, where: str | None = None) -> None:
        """Log the files of a folder as artifacts of a run."""

    def download_artifact(self, run: StoredRun, name: str, folder: Path) -> Path:
        """Download an artifact of a run into a folder; return its path."""

    def set_status(self, run: StoredRun, status: str) -> None:
        """Set the status of a run."""

    def delete_run(self, run: StoredRun) -> None:
        """Delete a run."""


def sync_runs(
    store: RunStore, results: ResultSnapshot, stage: SyncStage, progress: Progress | None = None
) -> Generator[str]:
    """Update the runs of a study from its results; yield the name of each arm that was written.

    Unless the study has ended, only complete arms are written. Every version has a separate study
    run with its arm runs below it; runs of other versions are not changed.
    """
    contents = build_contents(results)
    comparisons = compare_arms([contents.pool]) if stage == SyncStage.ENDED else []
    experiment = store.open_experiment(results.spec.name)
    runs = _select_version(store, store.list_runs(experiment), results.version)
    study = _StudyRun(store, results, comparisons, _find_parent(store, experiment, runs, results))
    # The closed run of a complete study is not reopened.
    if stage == SyncStage.RUNNING and (results.missing or not study.run.closed):
        study.update(progress)
        study.set_status("RUNNING")
    arms = _ArmRuns(store, experiment, study.run.id, contents, comparisons)
    yield from arms.write(runs, only=None if stage == SyncStage.ENDED else contents.complete)
    if stage == SyncStage.ENDED:
        arms.finish(runs)
    if stage != SyncStage.RUNNING:
        study.update(None)
        ended = "FAILED" if results.missing else "FINISHED"
        study.set_status("KILLED" if stage == SyncStage.STOPPED else ended)


def _select_version(
    store: RunStore, runs: Sequence[StoredRun], version: Version
) -> list[StoredRun]:
    """Return the runs of a version, and arm runs without a study run."""
    others = {
        run.id
        for run in _filter_by_role(runs, "study")
        if not all(stored.agrees(version) for stored in _read_versions(store, run, runs))
    }
    return [run for run in runs if not {run.id, run.tags.get(PARENT)} & others]


def _read_versions(store: RunStore, run: StoredRun, runs: Sequence[StoredRun]) -> Iterator[Version]:
    """Yield the versions of the trials below a study run.

    Runs of earlier releases have no version tag. For them the version is read from the first trial
    of each arm; it covers only the featurizers of that arm.
    """
    if VERSION in run.tags:
        yield Version.parse(run.tags[VERSION])
        return
    for arm in _filter_by_role(runs, "cell"):
        if arm.tags.get(PARENT) == run.id and arm.closed:
            yield from map(identify_version, islice(_read_trials(store, arm), 1))


def _find_parent(
    store: RunStore, experiment: str, runs: Sequence[StoredRun], results: ResultSnapshot
) -> StoredRun:
    """Find or create the study run; if two drivers have created two, the oldest is kept."""
    studies = _filter_by_role(runs, "study")
    for duplicate in studies[1:]:
        store.delete_run(duplicate)
    run = (
        studies[0]
        if studies
        else store.create_run(experiment, results.spec.name, build_opening_tags(results))
    )
    store.log_dataset(run, results)
    return run


@dataclass(frozen=True, eq=False)
class _StudyRun:
    """The run of a whole study."""

    store: RunStore
    results: ResultSnapshot
    comparisons: Sequence[ArmComparison]
    run: StoredRun

    def update(self, progress: Progress | None) -> None:
        """Log the files if they changed, then the progress tags and the headline metrics."""
        tags = build_study_tags(self.results, self.comparisons, progress)
        if self.run.tags.get(STATE) != tags[STATE]:
            with tempfile.TemporaryDirectory() as folder:
                write_study_files(Path(folder), self.results, self.comparisons)
                self.store.log_files(self.run, Path(folder))
        self.store.update_run(self.run, tags, build_headline_metrics(self.comparisons))

    def set_status(self, status: str) -> None:
        """Set the status, unless it is set already."""
        if self.run.status != status:
            self.store.set_status(self.run, status)


@dataclass(frozen=True, eq=False)
class _ArmRuns:
    """The runs of the arms below the run of a study.

    Attributes
    ----------
    runs : dict of arm id to StoredRun
        Runs that are up to date.
    """

    store: RunStore
    experiment: str
    parent: str
    contents: PageContents
    comparisons: Sequence[ArmComparison]
    runs: dict[str, StoredRun] = field(default_factory=dict)

    def write(
        self, runs: Sequence[StoredRun], *, only: Sequence[ArmSummary] | None
    ) -> Iterator[str]:
        """Write the outdated runs, references first, so that the others can link to them."""
        references = self.contents.results.references
        chosen = self.contents.results.summaries if only is None else only
        comparisons = {row.summary.arm.id: row for row in self.comparisons}
        for summary in sorted(chosen, key=lambda summary: summary.arm.id in references):
            arm_id = summary.arm.id
            if not self._is_up_to_date(summary, [s for s in runs if s.tags.get(ARM_ID) == arm_id]):
                gain = (
                    self._describe_gain(comparisons[arm_id])
                    if comparisons
                    else ({}, self.contents.estimate_gain(summary.arm))
                )
                page = build_arm_page(summary, self.contents, self.parent, gain)
                self.runs[arm_id] = self.store.write_run(self.experiment, page)
                yield page.name

    def _is_up_to_date(self, summary: ArmSummary, runs: Sequence[StoredRun]) -> bool:
        """Whether one of the arm's runs is up to date; all others are deleted."""
        state = self.contents.compute_state(summary)
        for run in runs:
            current = run.closed and run.tags.get(STATE) == state
            below = run.tags.get(PARENT) == self.parent
            if current and below and summary.arm.id not in self.runs:
                self.runs[summary.arm.id] = run
            else:
                self.store.delete_run(run)
        return summary.arm.id in self.runs

    def _describe_gain(self, row: ArmComparison) -> tuple[dict[str, str], Metrics]:
        return build_verdict(row, {arm_id: run.id for arm_id, run in self.runs.items()})

    def finish(self, runs: Sequence[StoredRun]) -> None:
        """Delete the runs of arms that are no longer in the study, and log the verdicts."""
        for run in runs:
            if run.tags[ROLE] == "cell" and run.tags.get(ARM_ID) not in self.runs:
                self.store.delete_run(run)
        for row in self.comparisons:
            self.store.update_run(self.runs[row.summary.arm.id], *self._describe_gain(row))


WEIGHTS = "weights"
"""Name of the experiment of all pretrained weights; reserved, no study may have it."""


def sync_weights_page(store: RunStore, weights: WeightsPage) -> bool:
    """Update the run of pretrained weights; return whether it was written."""
    experiment = store.open_experiment(WEIGHTS)
    runs = [run for run in store.list_runs(experiment) if run.tags.get(NAME) == weights.name]
    if any((run.tags[STATE], run.status) == (weights.state, "FINISHED") for run in runs):
        return False
    for old in runs:  # other weights with this name, or a run that was not completed
        store.delete_run(old)
    store.write_run(experiment, weights.to_run_page())
    return True


def clear_runs(store: RunStore, results: ResultSnapshot) -> None:
    """Delete every run of a version of a study."""
    for run in _select_version(
        store, store.list_runs(store.open_experiment(results.spec.name)), results.version
    ):
        store.delete_run(run)


def store_report(store: RunStore, results: ResultSnapshot, folder: Path) -> None:
    """Log the files of a report to the run of its study; InputError if there is none."""
    name = results.spec.name
    experiment = store.find_experiment(name)
    runs = store.list_runs(experiment) if experiment is not None else []
    studies = _filter_by_role(_select_version(store, runs, results.version), "study")
    if not studies:
        raise InputError(
            f"tracking store '{store.uri}' has no page of study '{name}', version "
            f"'{results.version}'; `study sync {name}` writes it"
        )
    store.log_files(studies[0], folder, "report")


def read_pool(store: RunStore, name: str, version: str | None = None) -> ScorePool:
    """Read every trial of one version of a study back.

    Parameters
    ----------
    store : RunStore
    name : str
        Name of the study.
    version : str, optional
        Text that selects the version; default: the one with the most finished trials.

    Raises
    ------
    InputError
        The store does not have the study or this version of it.
    """
    experiment = store.find_experiment(name)
    if experiment is None:
        raise InputError(f"tracking store '{store.uri}' has no experiment '{name}'")
    runs = store.list_runs(experiment)
    studies = _filter_by_role(runs, "study")
    if not studies:
        raise InputError(
            f"experiment '{name}' of '{store.uri}' has no page of a study; launch the study again"
        )
    versions = _rank_versions(store, studies, runs)
    chosen = (
        choose_version(versions, version) if version else max(versions, key=versions.__getitem__)
    )
    runs = _select_version(store, runs, chosen)
    results = [
        result
        for run in _filter_by_role(runs, "cell")
        if run.closed
        for result in _read_trials(store, run)
    ]
    others = "; ".join(f"'{other}'" for other in versions if other != chosen)
    lines = (
        f"version: results of '{chosen}'; no other version is mixed in",
        f"others:  {others}; --version shows one of them",
    )
    with tempfile.TemporaryDirectory() as folder:
        folder_path = Path(folder)
        split, file = (
            store.download_artifact(_filter_by_role(runs, "study")[0], name, folder_path)
            for name in ("split.json", "study.json")
        )
        values = json.loads(file.read_bytes())
        load_stored_plugins(values.get("plugins", ()), f"the page of study '{values['name']}'")
        spec = StudySpec.model_validate(values)
        pool = build_score_pool_from_runs(spec, results, Split.load(split), chosen)
        return replace(pool, version_lines=lines if others else ())


def _rank_versions(
    store: RunStore, studies: Sequence[StoredRun], runs: Sequence[StoredRun]
) -> dict[Version, tuple[int, tuple[tuple[int, ...], ...]]]:
    """Return finished trials and age of each version in an experiment; the maximum is read."""
    counts: dict[Version, tuple[int, tuple[tuple[int, ...], ...]]] = {}
    for run in studies:
        version = merge_versions(_read_versions(store, run, runs))
        finished = int(run.tags.get("olfaction.trials_finished", 0))
        counts[version] = max((finished, version.order), counts.get(version, (0, ())))
    return counts


def _filter_by_role(runs: Sequence[StoredRun], role: str) -> list[StoredRun]:
    return [run for run in runs if run.tags[ROLE] == role]


def _read_trials(store: RunStore, run: StoredRun) -> Iterator[TrialResult]:
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(store.download_artifact(run, "trials", Path(folder)).glob("*.trial")):
            yield TrialResult.from_bytes(verify_checksum(file.read_bytes(), file.name))
