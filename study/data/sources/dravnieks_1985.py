"""Dravnieks 1985: mean ratings of 138 molecules on 146 odor descriptors."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import ClassVar, Literal

from study.data.dataset import CurationStep
from study.data.source import RawEntry, RawTable, Threshold, digest_files
from study.data.tables import (
    Row,
    archive_files,
    parse_cid,
    parse_number,
    read_rows,
    read_structures,
)

_MAX_RATING = 100


class Dravnieks1985:
    """The Atlas of Odor Character Profiles (ASTM DS61, doi 10.1520/DS61-EB).

    Of the 160 stimuli, 16 are mixtures or materials without a structure. Six molecules were
    rated at a high and a low concentration; the high one is used, as for all other molecules.

    Parameters
    ----------
    measure : {"applicability", "use"}
        `use` is the percentage of panelists who used the descriptor; `applicability` weighs it
        with the rating they gave. Both run from 0 to 100.

    Notes
    -----
    The default rule is a rating of at least 10: 62 of the 146 labels then have 5 positives or
    more in applicability and 41 have 10; in use they are 86 and 58.

    The digitized tables have errors. A rating outside 0 to 100 (one, 432 in use) becomes NaN and
    is counted; it is never a positive. Some cells have an applicability far above their use, which
    is impossible; one table alone does not show them, so they are used as they are.
    """

    rated: ClassVar[bool] = True

    def __init__(self, *, measure: Literal["applicability", "use"] = "applicability") -> None:
        self._table = {"applicability": "behavior_1.csv", "use": "behavior_2.csv"}[measure]

    def files(self, archive: Path | None) -> dict[str, Path]:
        """Return the behavior, stimuli and molecules files."""
        names = (self._table, "stimuli.csv", "molecules.csv")
        return archive_files(archive, (f"dravnieks_1985/{name}" for name in names))

    def read(self, archive: Path | None) -> RawTable:
        """Join ratings to structures: stimulus -> CID -> SMILES."""
        files = self.files(archive)
        behavior, stimuli, molecules = files.values()
        rows = read_rows(behavior, ("Stimulus",))
        cid = _choose_stimuli(read_rows(stimuli, ("Stimulus", "CID", "Conc")))
        smiles = read_structures(molecules)
        used = {i: row for i, row in enumerate(rows, start=2) if cid.get(row["Stimulus"]) in smiles}
        entries = tuple(
            RawEntry(
                f"dravnieks_1985/{self._table} row {i}",
                smiles[cid[row["Stimulus"]]],
                ratings=_parse_ratings(row, f"dravnieks_1985/{self._table} row {i}"),
            )
            for i, row in used.items()
        )
        bad = sum(math.isnan(x) for entry in entries for x in (entry.ratings or {}).values())
        step = CurationStep(
            "dravnieks_1985: stimuli that are one molecule", len(rows), len(entries),
            f"of two concentrations the high one; {bad} ratings outside 0 to 100 set to NaN",
        )  # fmt: skip
        vocabulary = tuple(_format_label(name) for name in rows[0] if name != "Stimulus")
        return RawTable(
            "dravnieks_1985", entries, vocabulary, digest_files(files), (step,),
            threshold=Threshold(at_least=10),
        )  # fmt: skip


def _choose_stimuli(stimuli: list[Row]) -> dict[str, str]:
    """Return the CID of every used stimulus: a low concentration only if there is no high one."""
    known = [row for row in stimuli if row["CID"]]
    high = {row["CID"] for row in known if row["Conc"] == "high"}
    used = (row for row in known if row["Conc"] == "high" or row["CID"] not in high)
    return {row["Stimulus"]: parse_cid(row["CID"]) for row in used}


def _format_label(name: str) -> str:
    """Return a label as text: ``MEATY ( COOKED,GOOD)`` -> ``meaty (cooked, good)``."""
    spaced = re.sub(r"\s*,\s*", ", ", name.strip().lower())
    return re.sub(r"\(\s+", "(", spaced)


def _parse_ratings(row: Row, place: str) -> dict[str, float]:
    cells = ((name, text) for name, text in row.items() if name != "Stimulus")
    ratings = {_format_label(name): parse_number(text, place) for name, text in cells}
    return {name: x if 0 <= x <= _MAX_RATING else math.nan for name, x in ratings.items()}
