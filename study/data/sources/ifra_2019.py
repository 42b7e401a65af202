"""IFRA 2019: up to three ordered descriptors of about 1,100 fragrance ingredients."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from study.data.dataset import CurationStep
from study.data.source import RawEntry, RawTable, digest_files
from study.data.tables import Row, archive_files, read_rows, read_structures

_COLUMNS = ("Descriptor 1", "Descriptor 2", "Descriptor 3")


class Ifra2019:
    """The fragrance ingredient glossary of the International Fragrance Association, 2019.

    A members' document: it is read from the user's own folder and never shipped. A molecule can
    have several rows (trade names); curation merges them by union.

    Parameters
    ----------
    descriptors : {1, 2, 3}
        Number of descriptors to use, starting with the most applicable one.
    """

    rated: ClassVar[bool] = False

    def __init__(self, *, descriptors: Literal[1, 2, 3] = 3) -> None:
        self._columns = _COLUMNS[:descriptors]

    def files(self, archive: Path | None) -> dict[str, Path]:
        """Return the behavior and molecules files."""
        return archive_files(archive, ("ifra_2019/behavior.csv", "ifra_2019/molecules.csv"))

    def read(self, archive: Path | None) -> RawTable:
        """Read the descriptor columns; the stimulus is the CID."""
        files = self.files(archive)
        behavior, molecules = files.values()
        rows = read_rows(behavior, ("Stimulus", *_COLUMNS))
        smiles = read_structures(molecules)
        entries = tuple(
            RawEntry(
                f"ifra_2019/behavior.csv row {number}",
                smiles[row["Stimulus"]],
                self._read_labels(row),
            )
            for number, row in enumerate(rows, start=2)
            if row["Stimulus"] in smiles
        )
        step = CurationStep("ifra_2019: rows with a structure", len(rows), len(entries))
        vocabulary = sorted({label for entry in entries for label in entry.labels})
        return RawTable("ifra_2019", entries, tuple(vocabulary), digest_files(files), (step,))

    def _read_labels(self, row: Row) -> tuple[str, ...]:
        return tuple(row[column] for column in self._columns if row[column].strip())
