"""The contract of a source of odor labels, and the folder that lists them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, get_type_hints

from modalities import sha256_of
from study.data._dataset import CurationStep
from study.data._threshold import Threshold
from study.errors import InputError


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


def source_words() -> tuple[str, ...]:
    """Every source of this folder, by listing it: nothing is imported."""
    files = Path(__file__).parent.glob("*.py")
    return tuple(sorted(path.stem for path in files if not path.stem.startswith("_")))


def source_class(word: str) -> type[Source]:
    """Class of a source by its word.

    Raises
    ------
    InputError
        No file of this folder has that name.
    """
    if word not in source_words():
        raise InputError(f"unknown source '{word}'; known: {', '.join(source_words())}")
    module = importlib.import_module(f"study.data.{word}")
    name = "".join(part.capitalize() for part in word.split("_"))
    found: type[Source] = getattr(module, name)
    return found


def source_options(word: str) -> dict[str, Any]:
    """Options of a source: name -> annotated type."""
    init = vars(source_class(word)).get("__init__")
    if init is None:
        return {}
    hints = get_type_hints(init)
    parameters = inspect.signature(init).parameters.values()
    return {p.name: hints[p.name] for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Sha256 of every file, by name."""
    return {name: sha256_of(path) for name, path in files.items()}
