"""A study with its plan, data and ledger, and its results as read from the ledger."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from study.artifacts.study_data import StudyData, current_version
from study.artifacts.study_folder import read_spec
from study.artifacts.version import Version
from study.config.study import StudySpec, digest
from study.errors import InputError
from study.planning.contrasts import find_reference_arms
from study.planning.plan import Plan, make_plan
from study.planning.trials import Arm, Trial
from study.results.ledger import Failure, Ledger
from study.results.summary import ArmSummary, summarize
from study.results.trial_result import TrialResult
from study.results.versions import VersionResults, find_versions, name_versions, put_first
from study.storage.mirror import local_folder
from study.storage.storage import Storage


class _ResultCache:
    """Results of a study that have already been read, and the lock that guards them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.results: Mapping[str, TrialResult] = {}


@dataclass(frozen=True, eq=False)
class Study:
    """A study file with its plan, its data and the ledger of its storage.

    Attributes
    ----------
    spec : StudySpec
        The study file, with the matched head widths written into its grid.
    plan : Plan
    data : StudyData
        Data set and split. Its version determines the identities of the trials.
    ledger : Ledger
        Finished trials of all studies of the storage.
    home : Storage
        Folder of the study: its file, data set and split.
    versions : tuple of VersionResults
        Versions with results in the ledger; the first is the one that is read. Empty if only the
        current version is considered.
    """

    spec: StudySpec
    plan: Plan
    data: StudyData
    ledger: Ledger
    home: Storage
    versions: tuple[VersionResults, ...] = ()
    _cache: _ResultCache = field(default_factory=_ResultCache, init=False, repr=False)

    @property
    def folder(self) -> Path:
        """Folder of the study on this machine; for an object store, the local mirror."""
        return local_folder(self.home)

    @cached_property
    def key(self) -> str:
        """Digest of data set and split; differs if a folder holds another data set or split."""
        return digest([self.data.dataset.digest, self.data.split.digest])

    def trials_by_id(self) -> dict[str, Trial]:
        """Return the planned trials by their identity, in the order of the plan."""
        return {self.data.trial_id(trial): trial for trial in self.plan.trials()}

    def read_snapshot(self) -> ResultSnapshot:
        """Read the finished and failed trials from the ledger; thread-safe.

        Results are cached: later calls read only the trials that have finished since.

        Raises
        ------
        StudyError, OSError
            A record is damaged, or was removed during the read; a retry may succeed.
        """
        trials = self.trials_by_id()
        with self._cache.lock:
            finished = trials.keys() & self.ledger.ids()
            cached = self._cache.results
            results = {trial_id: cached[trial_id] for trial_id in finished & cached.keys()}
            unread = finished - results.keys()
            results |= {result.id: result for result in self.ledger.get_many(unread)}
            failures = self.ledger.failures(trials.keys() - results.keys())
            self._cache.results = results
        return ResultSnapshot(self, results, tuple(failures))


@dataclass(frozen=True, eq=False)
class ResultSnapshot:
    """Results of a study at one moment; comparisons, reports and MLflow runs are built from it.

    Attributes
    ----------
    study : Study
    by_id : mapping of trial id to TrialResult
        Finished trials, all of one version.
    failures : tuple of Failure
        Trials that failed and have no result.
    """

    study: Study
    by_id: Mapping[str, TrialResult]
    failures: tuple[Failure, ...] = ()

    @property
    def spec(self) -> StudySpec:
        """The study file."""
        return self.study.spec

    @property
    def plan(self) -> Plan:
        """Arms and trials of the study."""
        return self.study.plan

    @property
    def data(self) -> StudyData:
        """Data set and split of the study."""
        return self.study.data

    @cached_property
    def summaries(self) -> list[ArmSummary]:
        """One summary per arm, in the order of the study file."""
        results = list(self.by_id.values())
        positives = self.data.dataset.positives
        return summarize(self.plan.arms, results, positives, self.plan.trials_per_arm)

    @cached_property
    def references(self) -> Mapping[str, str]:
        """Id of the reference arm, by arm id, of each arm that has one."""
        return find_reference_arms(self.plan.arms)

    @cached_property
    def version(self) -> Version:
        """Version of code, featurizers and libraries that produced the results."""
        return self.data.version or current_version(self.plan)

    @property
    def version_lines(self) -> list[str]:
        """Lines that name the versions; empty if there is only the current one."""
        return name_versions(self.study.versions)

    @property
    def missing(self) -> int:
        """Number of trials without a result."""
        return len(self.plan.arms) * self.plan.trials_per_arm - len(self.by_id)

    def results_of(self, arm: Arm) -> list[TrialResult]:
        """Return the finished trials of an arm, ordered by seed, repeat and fold."""
        ids = (self.data.trial_id(trial) for trial in self.plan.trials_of(arm))
        return [self.by_id[trial_id] for trial_id in ids if trial_id in self.by_id]

    def refresh(self) -> ResultSnapshot:
        """Read the ledger again, including trials that have finished since."""
        return self.study.read_snapshot()


def open_study(folder: Path | Storage, version: str | None = None) -> Study:
    """Open the folder of a launched study without reading its results.

    Parameters
    ----------
    folder : Path or Storage
    version : str, optional
        Text that selects the version whose results are read. Default: the version with the most
        finished trials; ties go to the newest.

    Raises
    ------
    InputError
        The folder holds no study, or the study has no results of that version.
    """
    home = folder if isinstance(folder, Storage) else Storage(str(folder))
    spec = read_spec(home)
    if spec is None:
        raise InputError(f"{home.url} holds no study: launch it first, or pass --storage")
    ledger = Ledger(home.parent_folder.subfolder("ledger"))
    plan, data = make_plan(spec), StudyData.load(home)
    versions = put_first(find_versions(plan, data, ledger), version)
    return Study(spec, plan, versions[0].applied_to(data), ledger, home, versions)


def load_snapshot(folder: Path | Storage, version: str | None = None) -> ResultSnapshot:
    """Read the results of a launched study from its folder.

    Parameters and errors are those of `open_study`.
    """
    return open_study(folder, version).read_snapshot()
