"""What made a trial, beside what was asked: the training code and the featurizers.

The identity of a trial holds both. What was asked is the arm, the seed, the table and the rows;
what made it is a `Version`. Of a trial that was asked, the identity under any version can be
computed, so that results of other versions are found by their names alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from study.errors import InputError

FIRST_CODE = 4
"""Training code of records that name none: those written before records named it."""
FIRST_REVISION = "1"
"""Revision of every featurizer of ours at that time."""

_PART = re.compile(r"(^|\(|, )([\w.-]+) ([\w.+!-]+)(?= \(|, |\)|$)")


@dataclass(frozen=True)
class Version:
    """Training code and featurizers that make the trials of a study.

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
    def words(self) -> tuple[str, ...]:
        """The code and all parts as text; the first revision of a featurizer is not worth one."""
        said = (f"{name} {version}" for name, version in self.parts if version != FIRST_REVISION)
        return (f"code {self.code}", *said)

    def __str__(self) -> str:
        return ", ".join(self.words)

    @property
    def order(self) -> tuple[tuple[int, ...], ...]:
        """Key to sort by: the newer, the larger."""
        numbers = (tuple(map(int, re.findall(r"\d+", version))) for _, version in self.parts)
        return ((self.code,), *numbers)

    @classmethod
    def parse(cls, text: str) -> Version:
        """Rebuild what `str` returned, without the first revisions."""
        code, *parts = (word.rpartition(" ") for word in text.split(", "))
        return cls(int(code[2]), tuple((name, version) for name, _, version in parts))

    def is_named(self, text: str) -> bool:
        """Whether a text stands for this version: the number of its code, or some of its words."""
        asked = [word.strip() for word in text.split(",")]
        return all(word in self.words or f"code {word}" in self.words for word in asked)

    def agrees(self, other: Version) -> bool:
        """Whether two versions of studies with other modalities could be one."""
        parts = dict(other.parts)
        return self.code == other.code and all(parts.get(k, v) == v for k, v in self.parts)

    def applied_to(self, featurizer: str) -> str:
        """Return the text of `featurizer_version` as it was under this version."""
        return _applied(featurizer, self.parts)


@lru_cache(maxsize=1024)
def _applied(featurizer: str, parts: tuple[tuple[str, str], ...]) -> str:
    known = dict(parts)
    return _PART.sub(
        lambda found: f"{found[1]}{found[2]} {known.get(found[2], found[3])}", featurizer
    )


def featurizer_parts(featurizers: Iterable[str]) -> dict[str, str]:
    """Return revisions and packages that texts of `featurizer_version` name."""
    return {found[2]: found[3] for text in featurizers for found in _PART.finditer(text)}


def choose_version(versions: Iterable[Version], text: str) -> Version:
    """Return the one version that a text stands for.

    Raises
    ------
    InputError
        It stands for none or for several.
    """
    known = list(versions)
    found = [version for version in known if version.is_named(text)]
    if len(found) != 1:
        listed = "; ".join(f"'{version}'" for version in known)
        raise InputError(
            f"--version '{text}' stands for {len(found)} of the versions with results, which are "
            f"{listed or 'none'}; give the number of the code, or as many of its words as tell one"
        )
    return found[0]


def merge_versions(versions: Iterable[Version]) -> Version:
    """Return the version that all these are parts of; the first code without any."""
    code, parts = FIRST_CODE, dict[str, str]()
    for version in versions:
        code, parts = version.code, {**parts, **dict(version.parts)}
    return Version(code, tuple(sorted(parts.items())))


def version_of_record(code: int, packages: Mapping[str, str], current: Version) -> Version:
    """Return the version that made a record, with the parts of the current one.

    Parameters
    ----------
    code : int
        Its training code; 0 if the record names none.
    packages : mapping of str to str
        Versions of packages and revisions of featurizers that the record names.
    current : Version
        Its parts are those of the study. What the record does not name is as it is now; revisions
        of featurizers are the first ones if the record is of before.
    """
    old = {} if code else {name: FIRST_REVISION for name, v in current.parts if v.isdecimal()}
    known = {**dict(current.parts), **old, **packages}
    return Version(code or FIRST_CODE, tuple((name, known[name]) for name, _ in current.parts))
