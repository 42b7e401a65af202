"""Document model of a report: sections with text, lists, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from study.reporting.formatting import Column, Row, records

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing
    from pandas import DataFrame


@dataclass(frozen=True)
class Prose:
    """A paragraph.

    Attributes
    ----------
    text : str
        Plain text.
    """

    kind: ClassVar[str] = "prose"
    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    kind: ClassVar[str] = "bullets"
    items: tuple[str, ...]


@dataclass(frozen=True)
class DocumentTable:
    """A table that can be sorted on the page and is also written as a CSV file.

    Attributes
    ----------
    name : str
        Stem of the file name.
    caption : str
    columns : sequence of Column
        Columns on the page; the file has every column of the frame.
    frame : DataFrame
    """

    kind: ClassVar[str] = "table"
    name: str
    caption: str
    columns: Sequence[Column]
    frame: DataFrame

    @property
    def long(self) -> bool:
        """Whether the table is too long for the page and is shown in a scrolling box."""
        return len(self.frame) > 25

    @property
    def used(self) -> list[Column]:
        """Those of `columns` that the frame has."""
        return [column for column in self.columns if column.key in self.frame.columns]

    @property
    def rows(self) -> list[Row]:
        """Rows of the frame, with None where a value is missing."""
        return records(self.frame)


@dataclass(frozen=True)
class Figure:
    """A figure with its texts.

    Attributes
    ----------
    name : str
        Stem of the file names.
    title : str
    description : str
        Text alternative for readers who cannot see the figure.
    caption : str
        Explanation of how to read the figure.
    svg : str
        Content of the SVG file.
    png : bytes
    width : float
        Width in points.
    drawing : matplotlib.figure.Figure
        The drawn figure that `svg` and `png` were saved from.
    """

    kind: ClassVar[str] = "figure"
    name: str
    title: str
    description: str
    caption: str
    svg: str
    png: bytes
    width: float
    drawing: Drawing = field(compare=False, repr=False)

    @property
    def wide(self) -> bool:
        """Whether the figure must be scrolled on a page of 400 px."""
        return self.width > 420


Block = Prose | Bullets | DocumentTable | Figure


@dataclass(frozen=True)
class DocumentSection:
    """A section of the report.

    Attributes
    ----------
    anchor : str
        Id of the section on the page.
    title : str
    blocks : tuple of Block
    """

    anchor: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def figures(self) -> list[Figure]:
        """The figures of the section, in order."""
        return [block for block in self.blocks if isinstance(block, Figure)]

    @property
    def tables(self) -> list[DocumentTable]:
        """The tables of the section, in order."""
        return [block for block in self.blocks if isinstance(block, DocumentTable)]


@dataclass(frozen=True)
class Document:
    """A whole report.

    Attributes
    ----------
    title, subtitle : str
    sections : tuple of DocumentSection
    """

    title: str
    subtitle: str
    sections: tuple[DocumentSection, ...]

    @property
    def figures(self) -> list[Figure]:
        """All figures, in order."""
        return [figure for section in self.sections for figure in section.figures]

    @property
    def tables(self) -> list[DocumentTable]:
        """All tables, in order."""
        return [table for section in self.sections for table in section.tables]
