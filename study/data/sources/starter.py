"""The data set that ships with the package: common odorants with textbook labels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from study.data.dataset import CurationStep
from study.data.source import RawEntry, RawTable, digest_files
from study.data.tables import read_rows


class Starter:
    """Real odorants, written for this project from general perfumery and flavor knowledge.

    Small and clean on purpose, for a first study without any download. It uses no data of the
    archives and is not a benchmark.
    """

    rated: ClassVar[bool] = False

    def files(self, archive: Path | None) -> dict[str, Path]:  # noqa: ARG002 (the contract)
        """Return the shipped file."""
        return {"starter.csv": Path(__file__).parents[1] / "files" / "starter.csv"}

    def read(self, archive: Path | None) -> RawTable:
        """Read names, structures and labels (a list with semicolons)."""
        files = self.files(archive)
        rows = read_rows(files["starter.csv"], ("name", "smiles", "labels"))
        entries = tuple(
            RawEntry(
                f"starter.csv row {number} ({row['name']})",
                row["smiles"],
                tuple(row["labels"].split(";")),
            )
            for number, row in enumerate(rows, start=2)
        )
        vocabulary = tuple(sorted({label for entry in entries for label in entry.labels}))
        step = CurationStep("starter: shipped rows", len(rows), len(entries))
        return RawTable("starter", entries, vocabulary, digest_files(files), (step,), strict=True)
