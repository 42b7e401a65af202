"""Keller 2016: mean ratings of 480 molecules on 19 odor descriptors."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from study.data.dataset import CurationStep
from study.data.source import RawEntry, RawTable, Threshold, digest_files
from study.data.tables import archive_files, parse_cid, parse_number, read_rows, read_structures

_TARGETS = "prediction_targets/keller_2016.csv"
_MOLECULES = "molecules/molecules.csv"
_SCALES = frozenset({"familiarity", "intensity", "pleasantness"})


class Keller2016:
    """Olfactory perception of chemically diverse molecules (doi 10.1186/s12868-016-0287-2).

    Ratings from 0 to 100, averaged over the 55 subjects and both dilutions by the archive.
    Structures come from the archive's common table of molecules, because two of the 480 have
    none in the table of this archive.

    Parameters
    ----------
    scales : bool
        Also use intensity, pleasantness and familiarity. They are judgments of every odor, not
        odor qualities, so they are left out by default.

    Notes
    -----
    Average levels differ tenfold between descriptors (fish 1.3, chemical 11.5), so a common
    threshold would leave some labels empty: the default rule takes the highest 20% of each label,
    96 positives of 480 (more with ties).
    """

    rated: ClassVar[bool] = True

    def __init__(self, *, scales: bool = False) -> None:
        self._left_out = frozenset() if scales else _SCALES

    def files(self, archive: Path | None) -> dict[str, Path]:
        """Return the files of mean ratings and structures."""
        return archive_files(archive, (_TARGETS, _MOLECULES))

    def read(self, archive: Path | None) -> RawTable:
        """Gather the long table (CID, descriptor, rating) into one entry a molecule."""
        files = self.files(archive)
        rated: dict[str, dict[str, float]] = {}
        first: dict[str, int] = {}
        rows = read_rows(files[_TARGETS], ("CID", "Descriptor", "Ave Rating"))
        for i, row in enumerate(rows, start=2):
            cid, label = parse_cid(row["CID"]), row["Descriptor"].lower()
            first.setdefault(cid, i)
            if label not in self._left_out:
                rated.setdefault(cid, {})[label] = parse_number(
                    row["Ave Rating"], f"{_TARGETS} row {i}"
                )
        smiles = read_structures(files[_MOLECULES])
        entries = tuple(
            RawEntry(f"{_TARGETS} row {first[cid]}", smiles[cid], ratings=ratings)
            for cid, ratings in rated.items()
            if cid in smiles
        )
        step = CurationStep("keller_2016: molecules with a structure", len(rated), len(entries))
        vocabulary = tuple(sorted({label for ratings in rated.values() for label in ratings}))
        return RawTable(
            "keller_2016", entries, vocabulary, digest_files(files), (step,),
            threshold=Threshold(top_share=0.2),
        )  # fmt: skip
