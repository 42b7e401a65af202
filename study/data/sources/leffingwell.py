"""Leffingwell: 3,522 molecules with 113 binary odor labels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from study.data.dataset import CurationStep
from study.data.source import RawEntry, RawTable, digest_files
from study.data.tables import archive_files, read_rows, read_structures


class Leffingwell:
    """John Leffingwell's odor labels as cleaned for machine learning (doi 10.5281/zenodo.4085098).

    Licensed CC BY-NC 4.0 by its deposit: read from the user's own folder and never shipped.
    Negative CIDs are molecules that PubChem does not know.
    """

    rated: ClassVar[bool] = False

    def files(self, archive: Path | None) -> dict[str, Path]:
        """Return the behavior and molecules files."""
        names = ("leffingwell/behavior.csv", "leffingwell/molecules.csv")
        return archive_files(archive, names)

    def read(self, archive: Path | None) -> RawTable:
        """Read the 0/1 columns; the stimulus is the CID."""
        files = self.files(archive)
        behavior, molecules = files.values()
        rows = read_rows(behavior, ("Stimulus",))
        smiles = read_structures(molecules)
        vocabulary = tuple(name for name in rows[0] if name != "Stimulus")
        entries = tuple(
            RawEntry(
                f"leffingwell/behavior.csv row {number}",
                smiles[row["Stimulus"]],
                tuple(label for label in vocabulary if row[label] == "1"),
            )
            for number, row in enumerate(rows, start=2)
            if row["Stimulus"] in smiles
        )
        step = CurationStep("leffingwell: rows with a structure", len(rows), len(entries))
        return RawTable("leffingwell", entries, vocabulary, digest_files(files), (step,))
