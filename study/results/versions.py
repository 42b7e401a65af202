"""Finished trials of a study, grouped by the version that produced them.

The trial identities of a version can be computed, so it is enough to know which versions occur in
the ledger. For that, only records that do not belong to the study's current version are opened,
each once: their origins are cached in ``versions.json`` in the folder of the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from study.artifacts.study_data import StudyData, component_versions, current_version
from study.artifacts.version import (
    Version,
    choose_version,
    featurizer_parts,
    version_of_record,
)
from study.errors import StorageError
from study.planning.plan import Plan
from study.results.ledger import Ledger
from study.results.trial_result import TrialResult
from study.storage.checksums import UNREADABLE, add_json_checksum, verify_json_checksum

FILE = "versions.json"
"""Cache of the origins of other versions' records, in the folder of the ledger; may be deleted."""


@dataclass(frozen=True)
class VersionResults:
    """The finished trials of a study under one version.

    Attributes
    ----------
    version : Version
    ids : frozenset of str
        Identities of finished trials.
    current : bool
        Whether it is the version that new trials are run with.
    """

    version: Version
    ids: frozenset[str]
    current: bool

    def applied_to(self, data: StudyData) -> StudyData:
        """Return the study data with the trial identities of this version."""
        return replace(data, version=None if self.current else self.version)

    def __str__(self) -> str:
        count = f"{len(self.ids):,} trial{'' if len(self.ids) == 1 else 's'}"
        return f"'{self.version}' ({count}{', current' if self.current else ''})"


def find_versions(plan: Plan, data: StudyData, ledger: Ledger) -> tuple[VersionResults, ...]:
    """Return the versions of a study, most finished trials first; ties go to the newest.

    The current version is always included, even without results. Another version is included if
    it has a trial that the current one does not share: trials of arms that are unaffected by a
    change of version have the same identity under both.
    """
    finished, trials, current = ledger.ids(), list(plan.trials()), current_version(plan)
    current_ids = frozenset(map(replace(data, version=None).trial_id, trials))
    versions = [VersionResults(current, current_ids & finished, current=True)]
    origins = _read_origins(ledger, finished - current_ids)
    for version in {version_of_record(*origin, current) for origin in origins} - {current}:
        ids = finished & set(map(replace(data, version=version).trial_id, trials))
        if not ids <= current_ids:
            versions.append(VersionResults(version, frozenset(ids), current=False))
    return tuple(sorted(versions, key=_rank, reverse=True))


def _rank(results: VersionResults) -> Any:  # noqa: ANN401 (a key to sort by)
    return len(results.ids), results.version.order


def put_first(versions: Sequence[VersionResults], text: str | None) -> tuple[VersionResults, ...]:
    """Return the versions with the one that `text` selects moved to the front.

    Raises
    ------
    InputError
        The text matches no version, or several.
    """
    if text is None:
        return tuple(versions)
    chosen = choose_version((candidate.version for candidate in versions), text)
    return tuple(sorted(versions, key=lambda candidate: candidate.version != chosen))


def name_versions(versions: Sequence[VersionResults]) -> list[str]:
    """Return lines that name the version of the results; empty if only the current one exists."""
    if not is_named(versions):
        return []
    others = [other for other in versions[1:] if other.ids or other.current]
    lines = [f"version: results of {versions[0]}; no other version is mixed in"]
    if others:
        hint = "; --version shows one of them" if any(other.ids for other in others) else ""
        lines.append(f"others:  {'; '.join(map(str, others))}{hint}")
    return lines


def is_named(versions: Sequence[VersionResults]) -> bool:
    """Whether output names the version: it is not the current one, or others have results."""
    return bool(versions) and not (
        versions[0].current and not any(other.ids for other in versions[1:])
    )


def identify_version(result: TrialResult) -> Version:
    """Return the version of one result, restricted to the components of its arm."""
    installed = featurizer_parts(component_versions(result.spec.arm))
    packages = {**result.versions, **featurizer_parts(result.featurizers)}
    current = Version(result.code, tuple(sorted(installed.items())))
    return version_of_record(result.code, packages, current)


def complete_arms(
    plan: Plan, data: StudyData, versions: Iterable[VersionResults]
) -> frozenset[str]:
    """Return the ids of arms whose trials are all finished under at least one version."""
    complete = set()
    for version in versions:
        trial_id = version.applied_to(data).trial_id
        complete |= {
            arm.id
            for arm in plan.arms
            if all(trial_id(t) in version.ids for t in plan.trials_of(arm))
        }
    return frozenset(complete)


Origin = tuple[int, dict[str, str]]


def _read_origins(ledger: Ledger, ids: Collection[str]) -> list[Origin]:
    """Return the distinct origins of records; only records that are not cached are opened."""
    if not ids:
        return []
    cached = _read_cache(ledger)
    new = ids - cached.keys()
    if new:
        for trial_id, code, packages in ledger.read_origins(new):
            cached[trial_id] = json.dumps([code, packages], sort_keys=True)
        _write_cache(ledger, cached)
    texts = {cached[trial_id] for trial_id in ids if trial_id in cached}
    return [(code, packages) for code, packages in map(json.loads, sorted(texts))]


def _read_cache(ledger: Ledger) -> dict[str, str]:
    """Return the cached origin of each record, as JSON text."""
    storage = ledger.storage
    try:
        value = verify_json_checksum(storage.read(FILE), storage.path(FILE), ("origins",))
        return {key: text for text, keys in value["origins"].items() for key in keys}
    except (*UNREADABLE, StorageError):  # missing or damaged: open the records again
        return {}


def _write_cache(ledger: Ledger, cached: dict[str, str]) -> None:
    origins: dict[str, list[str]] = {}
    for key, text in sorted(cached.items()):
        origins.setdefault(text, []).append(key)
    with suppress(StorageError, OSError):  # reading results must work without write permission
        ledger.storage.write(FILE, add_json_checksum({"origins": origins}))
