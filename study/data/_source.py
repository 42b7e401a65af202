"""The contract of a source of odor labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from modalities import sha256_of
from study.data._dataset import CurationStep
from study.data._threshold import Threshold


@dataclass(frozen=True)
class RawEntry:
    """One row of a source as its author wrote it.

    Attributes
    ----------
    place : str
        Where it stands, readable: ``goodscents/behavior.csv row 12`` (the header is row 1).
    smiles : str
        Structure as given, not yet parsed.
    labels : tuple of str
        Labels as spelled in the source (empty for rated entries).
    ratings : mapping of str to float, optional
        Real-valued ratings by label name, for sources that rate.
    """

    place: str
    smiles: str
    labels: tuple[str, ...] = ()
    ratings: Mapping[str, float] | None = None


@dataclass(frozen=True)
class RawTable:
    """What a source read, before any curation.

    Attributes
    ----------
    name : str
        The word of the source.
    entries : tuple of RawEntry
        Rows in file order; one molecule may stand in several.
    vocabulary : tuple of str
        Every label the source can express, as spelled there.
    files : mapping of str to str
        Sha256 of every file read, by name.
    steps : tuple of CurationStep
        What reading left out, with counts.
    strict : bool
        True: an entry that cannot be parsed is the user's mistake (an error).
        False: it is a defect of a public archive (dropped and counted).
    threshold : Threshold, optional
        Default rule from ratings to labels; given exactly by the sources that rate.
    """

    name: str
    entries: tuple[RawEntry, ...]
    vocabulary: tuple[str, ...]
    files: Mapping[str, str]
    steps: tuple[CurationStep, ...] = ()
    strict: bool = False
    threshold: Threshold | None = None


class Source(Protocol):
    """One source of labels. The class of a file has the file's name in CamelCase.

    Options are the keyword-only parameters of the class, with literal types and defaults.
    """

    rated: ClassVar[bool]
    """Whether entries carry real-valued ratings instead of labels."""

    def files(self, archive: Path | None) -> Mapping[str, Path]:
        """Every file `read` will open, by name, each existing.

        Raises
        ------
        InputError
            A file is missing; the message names it and how to get it.
        """

    def read(self, archive: Path | None) -> RawTable:
        """Read the whole source.

        Raises
        ------
        InputError
            A file is missing or not of the expected form.
        """


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Sha256 of every file, by name."""
    return {name: sha256_of(path) for name, path in files.items()}
