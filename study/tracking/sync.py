"""Bring a tracking store up to date with the ledger."""

from __future__ import annotations

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
from study.progress import Progress
from study.results.study_results import StudyResults
from study.results.summary import ArmSummary
from study.results.trial_result import TrialResult
from study.results.versions import version_of_result
from study.splits import Split
from study.storage.checksums import verify_checksum
from study.tracking.pages import (
    CELL,
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
    arm_page,
    build_contents,
    headline,
    opening_tags,
    study_tags,
    verdict_page,
    write_study,
)


class SyncStage(StrEnum):
    """What a study does: only one that has ended is compared, and loses pages of other arms."""

    RUNNING = "running"
    STOPPED = "stopped"
    ENDED = "ended"


class RunStore(Protocol):
    """A tracking store: pages on shelves, a shelf for a study."""

    @property
    def uri(self) -> str:
        """Where it is, without secrets."""

    def find(self, name: str) -> str | None:
        """Find a shelf."""

    def shelf(self, name: str) -> str:
        """Find or make a shelf; one that was removed comes back."""

    def shown(self, shelf: str) -> list[StoredRun]:
        """Return all pages of ours, the oldest first."""

    def open(self, shelf: str, name: str, tags: Mapping[str, str]) -> StoredRun:
        """Begin a page."""

    def write(self, shelf: str, page: RunPage) -> StoredRun:
        """Write a page whole."""

    def mend(self, page: StoredRun, tags: Mapping[str, str], metrics: Metrics) -> None:
        """Bring tags and metrics of a page up; those it shows already are not sent."""

    def name_data(self, page: StoredRun, record: StudyResults) -> None:
        """Name the data set on a page that does not yet."""

    def keep(self, page: StoredRun, folder: Path, where: str | None = None) -> None:
        """Keep the files of a folder on a page."""

    def fetch(self, page: StoredRun, name: str, folder: Path) -> Path:
        """Bring a file or folder of a page into a folder; return where it lies."""

    def close(self, page: StoredRun, status: str) -> None:
        """Set the status of a page."""

    def remove(self, page: StoredRun) -> None:
        """Remove a page."""


def sync_runs(
    store: RunStore, record: StudyResults, stage: SyncStage, progress: Progress | None = None
) -> Generator[str]:
    """Bring the pages of a study up to its record; yield the name of each arm that was written.

    Unless the study has ended, only complete arms are written. Every version has a page of its
    own for the study, and those of its arms under it: what another version has made stays as it is.
    """
    contents = build_contents(record)
    compared = compare_arms([contents.pool]) if stage == SyncStage.ENDED else []
    shelf = store.shelf(record.spec.name)
    shown = _own(store, store.shown(shelf), record.version)
    study = _StudyPage(store, record, compared, _parent(store, shelf, shown, record))
    if stage == SyncStage.RUNNING and (
        record.missing or not study.page.closed
    ):  # readers wait for it
        study.bring_up(progress)
        study.close("RUNNING")
    arms = _CellPages(store, shelf, study.page.id, contents, compared)
    yield from arms.write(shown, only=None if stage == SyncStage.ENDED else contents.complete)
    if stage == SyncStage.ENDED:
        arms.tidy(shown)
    if stage != SyncStage.RUNNING:
        study.bring_up(None)
        study.close(_STATUS[stage] or ("FAILED" if record.missing else "FINISHED"))


_STATUS = {SyncStage.STOPPED: "KILLED", SyncStage.ENDED: ""}


def _own(store: RunStore, shown: Sequence[StoredRun], version: Version) -> list[StoredRun]:
    """Return the pages of a version, and those under no page of a study."""
    others = {
        page.id
        for page in _of(shown, "study")
        if not all(made.agrees(version) for made in _versions_of(store, page, shown))
    }
    return [page for page in shown if not {page.id, page.tags.get(PARENT)} & others]


def _versions_of(store: RunStore, page: StoredRun, shown: Sequence[StoredRun]) -> Iterator[Version]:
    """Yield what made the trials under the page of a study.

    Pages of before do not say it. The first trial of each of their arms does, as far as the
    featurizers of the arm go.
    """
    if VERSION in page.tags:
        yield Version.parse(page.tags[VERSION])
        return
    for arm in _of(shown, "cell"):
        if arm.tags.get(PARENT) == page.id and arm.closed:
            yield from map(version_of_result, islice(_stored(store, arm), 1))


def _parent(
    store: RunStore, shelf: str, shown: Sequence[StoredRun], record: StudyResults
) -> StoredRun:
    """Find or make the page of the study; the oldest counts, where two drivers have made two."""
    found = _of(shown, "study")
    for double in found[1:]:
        store.remove(double)
    page = found[0] if found else store.open(shelf, record.spec.name, opening_tags(record))
    store.name_data(page, record)
    return page


@dataclass(frozen=True, eq=False)
class _StudyPage:
    """The page of a whole study."""

    store: RunStore
    record: StudyResults
    compared: Sequence[ArmComparison]
    page: StoredRun

    def bring_up(self, progress: Progress | None) -> None:
        """Write its files if they changed, then how far the study is and its headline."""
        tags = study_tags(self.record, self.compared, progress)
        if self.page.tags.get(STATE) != tags[STATE]:
            with tempfile.TemporaryDirectory() as folder:
                write_study(Path(folder), self.record, self.compared)
                self.store.keep(self.page, Path(folder))
        self.store.mend(self.page, tags, headline(self.compared))

    def close(self, status: str) -> None:
        """Set its status unless it has it."""
        if self.page.status != status:
            self.store.close(self.page, status)


@dataclass(frozen=True, eq=False)
class _CellPages:
    """The pages of the arms under a study's page.

    Attributes
    ----------
    pages : dict of arm id to StoredRun
        Those that are up to date.
    """

    store: RunStore
    shelf: str
    parent: str
    contents: PageContents
    compared: Sequence[ArmComparison]
    pages: dict[str, StoredRun] = field(default_factory=dict)

    def write(
        self, shown: Sequence[StoredRun], *, only: Sequence[ArmSummary] | None
    ) -> Iterator[str]:
        """Write what is not up to date: references first, so that others can link them."""
        references = self.contents.record.references
        chosen = self.contents.record.summaries if only is None else only
        said = {each.summary.arm.id: each for each in self.compared}
        for summary in sorted(chosen, key=lambda summary: summary.arm.id in references):
            arm_id = summary.arm.id
            if not self._kept(summary, [s for s in shown if s.tags.get(CELL) == arm_id]):
                gain = self._said(said[arm_id]) if said else ({}, self.contents.gain(summary.arm))
                page = arm_page(summary, self.contents, self.parent, gain)
                self.pages[arm_id] = self.store.write(self.shelf, page)
                yield page.name

    def _kept(self, summary: ArmSummary, found: Sequence[StoredRun]) -> bool:
        """Keep a page that is up to date, and remove all others of its arm."""
        state = self.contents.state(summary)
        for page in found:
            good = page.closed and page.tags.get(STATE) == state
            if good and page.tags.get(PARENT) == self.parent and summary.arm.id not in self.pages:
                self.pages[summary.arm.id] = page
            else:
                self.store.remove(page)
        return summary.arm.id in self.pages

    def _said(self, each: ArmComparison) -> tuple[dict[str, str], Metrics]:
        return verdict_page(each, {arm_id: page.id for arm_id, page in self.pages.items()})

    def tidy(self, shown: Sequence[StoredRun]) -> None:
        """Remove the pages of arms that the study has no more; say what each gain is worth."""
        for page in shown:
            if page.tags[ROLE] == "cell" and page.tags.get(CELL) not in self.pages:
                self.store.remove(page)
        for each in self.compared:
            self.store.mend(self.pages[each.summary.arm.id], *self._said(each))


WEIGHTS = "weights"
"""Shelf of all pretrainings of a store; no study has this name."""


def sync_weights_page(store: RunStore, weights: WeightsPage) -> bool:
    """Bring the page of finished weights up; return whether it was written."""
    shelf = store.shelf(WEIGHTS)
    found = [page for page in store.shown(shelf) if page.tags.get(NAME) == weights.name]
    if any((page.tags[STATE], page.status) == (weights.state, "FINISHED") for page in found):
        return False
    for old in found:  # other weights of that name, or a page that was cut short
        store.remove(old)
    store.write(shelf, weights.page())
    return True


def clear_runs(store: RunStore, record: StudyResults) -> None:
    """Remove every page of a study's version."""
    for page in _own(store, store.shown(store.shelf(record.spec.name)), record.version):
        store.remove(page)


def store_report(store: RunStore, record: StudyResults, folder: Path) -> None:
    """Keep the files of a report on the page of its study; InputError if there is none."""
    name = record.spec.name
    shelf = store.find(name)
    shown = store.shown(shelf) if shelf is not None else []
    studies = _of(_own(store, shown, record.version), "study")
    if not studies:
        raise InputError(
            f"tracking store '{store.uri}' has no page of study '{name}', version "
            f"'{record.version}'; `study sync {name}` writes it"
        )
    store.keep(studies[0], folder, "report")


def read_pool(store: RunStore, name: str, version: str | None = None) -> ScorePool:
    """Read every trial of a study back, of the version with most finished trials or the one named.

    Raises
    ------
    InputError
        The store does not show the study, or no such version.
    """
    shelf = store.find(name)
    if shelf is None:
        raise InputError(f"tracking store '{store.uri}' has no experiment '{name}'")
    shown = store.shown(shelf)
    studies = _of(shown, "study")
    if not studies:
        raise InputError(f"experiment '{name}' of '{store.uri}' shows no study; launch it again")
    found = _shown_versions(store, studies, shown)
    chosen = choose_version(found, version) if version else max(found, key=found.__getitem__)
    own = _own(store, shown, chosen)
    results = [
        result for page in _of(own, "cell") if page.closed for result in _stored(store, page)
    ]
    others = "; ".join(f"'{each}'" for each in found if each != chosen)
    said = [f"version: results of '{chosen}'; no other version is mixed in",
            f"others:  {others}; --version shows one of them"]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        split, file = (
            store.fetch(_of(own, "study")[0], each, place) for each in ("split.json", "study.json")
        )
        spec = StudySpec.model_validate_json(file.read_bytes())
        pool = build_score_pool_from_runs(spec, results, Split.load(split), chosen)
        return replace(pool, version_lines=tuple(said) if others else ())


def _shown_versions(
    store: RunStore, studies: Sequence[StoredRun], shown: Sequence[StoredRun]
) -> dict[Version, tuple[int, tuple[tuple[int, ...], ...]]]:
    """Return the versions of an experiment, with finished trials and age: the largest is read."""
    counts: dict[Version, tuple[int, tuple[tuple[int, ...], ...]]] = {}
    for page in studies:
        version = merge_versions(_versions_of(store, page, shown))
        finished = int(page.tags.get("olfaction.trials_finished", 0))
        counts[version] = max((finished, version.order), counts.get(version, (0, ())))
    return counts


def _of(shown: Sequence[StoredRun], role: str) -> list[StoredRun]:
    return [page for page in shown if page.tags[ROLE] == role]


def _stored(store: RunStore, page: StoredRun) -> Iterator[TrialResult]:
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(store.fetch(page, "trials", Path(folder)).glob("*.trial")):
            yield TrialResult.from_bytes(verify_checksum(file.read_bytes(), file.name))
