"""Finished trials of a study by the version that made them.

The trials of every version have identities that can be computed, so all that has to be known is
which versions the ledger holds. Only records that are not of the current version of the study are
opened for that, each once: what they say is kept beside them in ``versions.json``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from study.artifacts.study_data import StudyData, build_modality, current_version
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
"""What is known of records of other versions, in the folder of the ledger; may be removed."""


@dataclass(frozen=True)
class VersionResults:
    """The finished trials of a study under one version.

    Attributes
    ----------
    version : Version
    ids : frozenset of str
        Identities of finished trials.
    current : bool
        Whether trials are made with it now.
    """

    version: Version
    ids: frozenset[str]
    current: bool

    def applied_to(self, data: StudyData) -> StudyData:
        """Return the data of a study with the identities of this version."""
        return replace(data, version=None if self.current else self.version)

    def __str__(self) -> str:
        count = f"{len(self.ids):,} trial{'' if len(self.ids) == 1 else 's'}"
        return f"'{self.version}' ({count}{', current' if self.current else ''})"


def find_versions(plan: Plan, data: StudyData, ledger: Ledger) -> tuple[VersionResults, ...]:
    """Return the versions of a study: that with most finished trials first, then the newest.

    The current version is among them, also without results; of the others those with a trial that
    is no trial of the current one (an arm may have nothing that another version changed).
    """
    known, trials, current = ledger.ids(), list(plan.trials()), current_version(plan)
    own = frozenset(map(replace(data, version=None).trial_id, trials))
    found = [VersionResults(current, own & known, current=True)]
    origins = _origins(ledger, known - own)
    for version in {version_of_record(*origin, current) for origin in origins} - {current}:
        ids = known & set(map(replace(data, version=version).trial_id, trials))
        if not ids <= own:
            found.append(VersionResults(version, frozenset(ids), current=False))
    return tuple(sorted(found, key=_rank, reverse=True))


def _rank(found: VersionResults) -> Any:  # noqa: ANN401 (a key to sort by)
    return len(found.ids), found.version.order


def put_first(found: Sequence[VersionResults], text: str | None) -> tuple[VersionResults, ...]:
    """Return versions with the one first that was asked for, by its text.

    Raises
    ------
    InputError
        The text stands for none or for several of them.
    """
    if text is None:
        return tuple(found)
    chosen = choose_version((each.version for each in found), text)
    return tuple(sorted(found, key=lambda each: each.version != chosen))


def name_versions(found: Sequence[VersionResults]) -> list[str]:
    """Say of which version the results are; nothing if there is only the current one."""
    if not is_named(found):
        return []
    others = [each for each in found[1:] if each.ids or each.current]
    lines = [f"version: results of {found[0]}; no other version is mixed in"]
    if others:
        way = "; --version shows one of them" if any(each.ids for each in others) else ""
        lines.append(f"others:  {'; '.join(map(str, others))}{way}")
    return lines


def is_named(found: Sequence[VersionResults]) -> bool:
    """Whether readers are told the version: it is not the current one, or there are others."""
    return bool(found) and not (found[0].current and not any(each.ids for each in found[1:]))


def version_of_result(result: TrialResult) -> Version:
    """Return what made one result, as far as the featurizers of its arm go."""
    choices = [feature.choice for feature in result.spec.arm.features]
    installed = featurizer_parts(build_modality(choice).version for choice in choices)
    packages = {**result.versions, **featurizer_parts(result.featurizers)}
    current = Version(result.code, tuple(sorted(installed.items())))
    return version_of_record(result.code, packages, current)


def complete_arms(plan: Plan, data: StudyData, found: Iterable[VersionResults]) -> frozenset[str]:
    """Return the arms that one version or another has all trials of."""
    whole = set()
    for each in found:
        trial_id = each.applied_to(data).trial_id
        whole |= {
            arm.id for arm in plan.arms if all(trial_id(t) in each.ids for t in plan.trials_of(arm))
        }
    return frozenset(whole)


Origin = tuple[int, dict[str, str]]


def _origins(ledger: Ledger, ids: Collection[str]) -> list[Origin]:
    """Return the distinct origins of records; those not seen before are opened."""
    if not ids:
        return []
    seen = _read_seen(ledger)
    new = ids - seen.keys()
    if new:
        for trial_id, code, packages in ledger.origins(new):
            seen[trial_id] = json.dumps([code, packages], sort_keys=True)
        _write_seen(ledger, seen)
    texts = {seen[trial_id] for trial_id in ids if trial_id in seen}
    return [(code, packages) for code, packages in map(json.loads, sorted(texts))]


def _read_seen(ledger: Ledger) -> dict[str, str]:
    """Return the origin of each record that was opened before, as JSON."""
    storage = ledger.storage
    try:
        value = verify_json_checksum(storage.read(FILE), storage.path(FILE), ("origins",))
        return {key: text for text, keys in value["origins"].items() for key in keys}
    except (*UNREADABLE, StorageError):  # absent or damaged: the records are opened again
        return {}


def _write_seen(ledger: Ledger, seen: dict[str, str]) -> None:
    origins: dict[str, list[str]] = {}
    for key, text in sorted(seen.items()):
        origins.setdefault(text, []).append(key)
    with suppress(StorageError, OSError):  # reading results needs no right to write
        ledger.storage.write(FILE, add_json_checksum({"origins": origins}))
