"""A page of a tracking store: as it is to be written, and as the store shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PARENT = "mlflow.parentRunId"
CELL = "olfaction.cell_id"
STATE = "olfaction.state"
"""Tag with the digest of what a page shows: one with the same state is up to date."""
ROLE = "olfaction.role"
"""Tag with what a page is of: ``study``, ``cell`` or ``weights``."""
Metrics = dict[str, float]
Value = tuple[str, float, int]
"""Metric, value, step."""


@dataclass(frozen=True)
class Page:
    """What is to be shown.

    Attributes
    ----------
    name : str
    tags, params : mapping of str to str
    metrics : sequence of (name, value, step)
    files : function of a folder
        Writes the artifacts into an empty folder.
    complete : bool
        Whether nothing is missing of what it shows.
    """

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Sequence[Value]
    files: Callable[[Path], None]
    complete: bool = True


@dataclass(frozen=True)
class Shown:
    """What a store shows.

    Attributes
    ----------
    id : str
        The store's own name of the page.
    status : str
        ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``.
    tags : mapping of str to str
    metrics : mapping of str to float
        Last values.
    ended : int
        When it was closed, in ms since 1970; 0 if it never was.
    data : frozenset of str
        Digests of the data sets it names.
    files : str
        Where its artifacts are.
    """

    id: str
    status: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    ended: int = 0
    data: frozenset[str] = frozenset()
    files: str = ""

    @property
    def closed(self) -> bool:
        """Whether it was written to its end."""
        return self.status != "RUNNING"
