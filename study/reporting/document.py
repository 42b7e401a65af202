"""What a report is made of: sections of text, lists, tables and figures, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from study.reporting.formatting import Column, Row, records

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Prose:
    """One paragraph.

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
    """A table that can be sorted on the page, and is a CSV file beside it.

    Attributes
    ----------
    name : str
        Stem of its file.
    caption : str
    columns : sequence of Column
        Those that readers see; the file has every column of the frame.
    frame : DataFrame
    """

    kind: ClassVar[str] = "table"
    name: str
    caption: str
    columns: Sequence[Column]
    frame: DataFrame

    @property
    def long(self) -> bool:
        """Whether it would fill a page: it is scrolled in place, and printed whole."""
        return len(self.frame) > 25

    @property
    def used(self) -> list[Column]:
        """Columns that the frame has."""
        return [column for column in self.columns if column.key in self.frame.columns]

    @property
    def rows(self) -> list[Row]:
        """Rows of the frame, with None where a value is missing."""
        return records(self.frame)


@dataclass(frozen=True)
class Figure:
    """A drawing with its words.

    Attributes
    ----------
    name : str
        Stem of its files.
    title : str
    description : str
        What it shows, for those who cannot see it.
    caption : str
        How to read it.
    svg : str
        A whole SVG file.
    png : bytes
    width : float
        In points.
    """

    kind: ClassVar[str] = "figure"
    name: str
    title: str
    description: str
    caption: str
    svg: str
    png: bytes
    width: float

    @property
    def wide(self) -> bool:
        """Whether a page of 400 px has to scroll it."""
        return self.width > 420


Block = Prose | Bullets | DocumentTable | Figure


@dataclass(frozen=True)
class DocumentSection:
    """A part of the report with a heading.

    Attributes
    ----------
    anchor : str
        Its address on the page.
    title : str
    blocks : tuple of Block
    """

    anchor: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def figures(self) -> list[Figure]:
        """The figures in their order."""
        return [block for block in self.blocks if isinstance(block, Figure)]

    @property
    def tables(self) -> list[DocumentTable]:
        """The tables in their order."""
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
        """Every figure."""
        return [figure for section in self.sections for figure in section.figures]

    @property
    def tables(self) -> list[DocumentTable]:
        """Every table."""
        return [table for section in self.sections for table in section.tables]
