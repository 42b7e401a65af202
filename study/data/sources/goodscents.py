"""GoodScents: free odor descriptors of about 4,600 materials."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from study.data.dataset import CurationStep
from study.data.source import RawEntry, RawTable, digest_files
from study.data.tables import archive_files, read_rows, read_structures


class Goodscents:
    """The Good Scents Company's descriptors, as scraped for the pyrfume archive.

    No licence is stated for this table: it is read from the user's own folder and never
    shipped. A descriptor such as "cherry maraschino cherry" is a base with a qualifier;
    curation reduces it to the base.
    """

    rated: ClassVar[bool] = False

    def files(self, archive: Path | None) -> dict[str, Path]:
        """Return the behavior, stimuli and molecules files."""
        names = ("behavior.csv", "stimuli.csv", "molecules.csv")
        return archive_files(archive, (f"goodscents/{name}" for name in names))

    def read(self, archive: Path | None) -> RawTable:
        """Join descriptors to structures: stimulus -> CID -> SMILES."""
        files = self.files(archive)
        behavior, stimuli, molecules = files.values()
        rows = read_rows(behavior, ("Stimulus", "Descriptors"))
        cid = {row["Stimulus"]: row["CID"] for row in read_rows(stimuli, ("Stimulus", "CID"))}
        smiles = read_structures(molecules)
        entries = tuple(
            RawEntry(
                f"goodscents/behavior.csv row {number}",
                smiles[cid[row["Stimulus"]]],
                tuple(row["Descriptors"].split(";")),
            )
            for number, row in enumerate(rows, start=2)
            if row["Descriptors"].strip() and cid.get(row["Stimulus"]) in smiles
        )
        step = CurationStep(
            "goodscents: rows with descriptors and a structure", len(rows), len(entries)
        )
        vocabulary = sorted({label for entry in entries for label in entry.labels})
        return RawTable("goodscents", entries, tuple(vocabulary), digest_files(files), (step,))
