"""The contract of a data source, and the threshold that turns ratings into labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from modalities import sha256_of
from study.data.dataset import CurationStep
from study.data.tables import LARGEST


class Threshold(BaseModel):
    """The rule that turns ratings into labels; exactly one of its fields is set.

    The rule defines the target, as the vocabulary does, so it uses the whole data set; no model
    sees it.

    Attributes
    ----------
    at_least : float, optional
        A molecule has the label if its rating is at least this (in units of the source).
    top_share : float, optional
        A molecule has the label if its rating is among this highest share of the label's
        ratings, in (0, 1). For scales whose levels differ between labels. Ties are included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: Annotated[float, Field(ge=-LARGEST, le=LARGEST)] | None = None
    top_share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        if (self.at_least is None) == (self.top_share is None):
            msg = "give exactly one of at_least and top_share"
            raise ValueError(msg)
        return self

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"rating at least {self.at_least:g}"
        return f"rating among the highest {self.top_share:.0%} of the label"

    def apply(self, ratings: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Turn ratings (n, l) into labels (n, l); NaN (not rated) is never a positive."""
        if self.at_least is not None:
            return (ratings >= self.at_least).astype(np.uint8)
        rated = ~np.isnan(ratings).all(axis=0)
        level = np.full(ratings.shape[1], np.inf)
        rank = 1 - (self.top_share or 0.0)
        level[rated] = np.nanquantile(ratings[:, rated], rank, axis=0, method="higher")
        return (ratings >= level).astype(np.uint8)


@dataclass(frozen=True)
class RawEntry:
    """One row of a source, before curation.

    Attributes
    ----------
    place : str
        File and row as text: ``goodscents/behavior.csv row 12`` (the header is row 1).
    smiles : str
        Structure as in the source, not parsed.
    labels : tuple of str
        Labels as spelled in the source (empty for entries with ratings).
    ratings : mapping of str to float, optional
        Ratings by label, for sources with ratings.
    """

    place: str
    smiles: str
    labels: tuple[str, ...] = ()
    ratings: Mapping[str, float] | None = None


@dataclass(frozen=True)
class RawTable:
    """The content of a source, before curation.

    Attributes
    ----------
    name : str
        Name of the source.
    entries : tuple of RawEntry
        Rows in file order; a molecule can have several.
    vocabulary : tuple of str
        Every label of the source, as spelled there.
    files : mapping of str to str
        Sha256 of every file read, by name.
    steps : tuple of CurationStep
        Rows left out while reading, with counts.
    strict : bool
        True: an entry that cannot be parsed is a mistake of the user (an error).
        False: it is a defect of a public archive (dropped and counted).
    threshold : Threshold, optional
        Default rule from ratings to labels; only for sources with ratings.
    """

    name: str
    entries: tuple[RawEntry, ...]
    vocabulary: tuple[str, ...]
    files: Mapping[str, str]
    steps: tuple[CurationStep, ...] = ()
    strict: bool = False
    threshold: Threshold | None = None


class Source(Protocol):
    """The contract of a source. The class has the name of its file in CamelCase.

    Options are the keyword-only parameters of the class, with literal types and defaults.
    """

    rated: ClassVar[bool]
    """Whether entries have ratings instead of labels."""

    def files(self, archive: Path | None) -> Mapping[str, Path]:
        """Return every file that `read` opens, by name.

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


def digest_files(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of every file, by name."""
    return {name: sha256_of(path) for name, path in files.items()}
