"""Versions: the training code and the featurizers that made a trial.

The identity of a trial depends on its request (arm, seed, table and rows) and on the `Version` that
ran it. The identity of a request under any version can be computed, so results of other versions
are found by their file names alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from study.errors import InputError

FIRST_CODE = 4
"""Training code of results that were written before results recorded it."""
FIRST_REVISION = "1"
"""Revision of every featurizer of ours at that time."""

_DIGEST = re.compile(r"[0-9a-f]{16}")
_PART = re.compile(r"(^|\(|, )([\w.-]+) ([\w.+!-]+)(?= \(|, |\)|$)")


@dataclass(frozen=True)
class Version:
    """Training code and featurizers that run the trials of a study.

    Attributes
    ----------
    code : int
        Number of the training code.
    parts : tuple of (name, version)
        Packages that compute features, and revisions of our own featurizers, sorted by name.
    """

    code: int
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The code and all parts as texts, without first revisions of featurizers."""
        parts = (f"{name} {version}" for name, version in self.parts if version != FIRST_REVISION)
        return (f"code {self.code}", *parts)

    def __str__(self) -> str:
        return ", ".join(self.names)

    @property
    def order(self) -> tuple[tuple[int, ...], ...]:
        """Sort key: newer versions have larger keys. A digest of a plug-in has no order."""
        versions = ("" if _DIGEST.fullmatch(v) else v for _, v in self.parts)
        numbers = (tuple(map(int, re.findall(r"\d+", version))) for version in versions)
        return ((self.code,), *numbers)

    @classmethod
    def parse(cls, text: str) -> Version:
        """Rebuild a version from its `str`, without first revisions of featurizers."""
        code, *parts = (name.rpartition(" ") for name in text.split(", "))
        return cls(int(code[2]), tuple((name, version) for name, _, version in parts))

    def is_named(self, text: str) -> bool:
        """Whether a text matches this version: the number of its code, or some of its names."""
        requested = [name.strip() for name in text.split(",")]
        return all(name in self.names or f"code {name}" in self.names for name in requested)

    def agrees(self, other: Version) -> bool:
        """Whether two versions, of studies with different modalities, agree in common parts."""
        parts = dict(other.parts)
        return self.code == other.code and all(parts.get(k, v) == v for k, v in self.parts)

    def applied_to(self, featurizer: str) -> str:
        """Return the text of `featurizer_version` as it was in this version."""
        return _replace_versions(featurizer, self.parts)


@lru_cache(maxsize=1024)
def _replace_versions(featurizer: str, parts: tuple[tuple[str, str], ...]) -> str:
    known = dict(parts)
    return _PART.sub(
        lambda match: f"{match[1]}{match[2]} {known.get(match[2], match[3])}", featurizer
    )


def featurizer_parts(featurizers: Iterable[str]) -> dict[str, str]:
    """Return the packages and revisions, by name, that texts of `featurizer_version` hold."""
    return {match[2]: match[3] for text in featurizers for match in _PART.finditer(text)}


def choose_version(versions: Iterable[Version], text: str) -> Version:
    """Return the one version that a text matches.

    Raises
    ------
    InputError
        The text matches none or several.
    """
    known = list(versions)
    matches = [version for version in known if version.is_named(text)]
    if len(matches) != 1:
        listed = "; ".join(f"'{version}'" for version in known)
        raise InputError(
            f"--version '{text}' matches {len(matches)} of the versions with results, which are "
            f"{listed or 'none'}; give the number of the code, or enough of the version's names "
            "to identify it"
        )
    return matches[0]


def merge_versions(versions: Iterable[Version]) -> Version:
    """Return one version with the parts of all these; the first code if there is none."""
    code, parts = FIRST_CODE, dict[str, str]()
    for version in versions:
        code, parts = version.code, {**parts, **dict(version.parts)}
    return Version(code, tuple(sorted(parts.items())))


def version_of_record(code: int, packages: Mapping[str, str], current: Version) -> Version:
    """Return the version that made a result, with the parts of the current one.

    Parameters
    ----------
    code : int
        Training code; 0 if the result does not record it.
    packages : mapping of str to str
        Versions of packages and revisions of featurizers that the result records.
    current : Version
        Its parts are those of the study. Parts that the result does not record are taken from it;
        if the result records no code either, its featurizers had their first revisions.
    """
    # Revisions of our own featurizers are whole numbers, versions of packages are not.
    old = {} if code else {name: FIRST_REVISION for name, v in current.parts if v.isdecimal()}
    known = {**dict(current.parts), **old, **packages}
    return Version(code or FIRST_CODE, tuple((name, known[name]) for name, _ in current.parts))
