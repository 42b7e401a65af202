"""The molecules of a pretraining: read, made canonical, deduplicated; nothing leaves unnamed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.config.loading import read_study
from study.config.study import digest
from study.data import load_or_build
from study.data.chemistry import parse_structure
from study.data.recipe import ARCHIVE_VARIABLE
from study.data.tables import Row, read_rows
from study.errors import InputError
from study.pretraining.config import MoleculeTableConfig, PretrainingSpec

SHOWN = 2
"""Molecules that a line about those left out names; the folder's `left_out.json` has all."""

LONGEST = 90
"""Characters of a molecule, with the reason, in such a line."""


@dataclass(frozen=True)
class ExcludedMolecules:
    """Molecules of the table that are not used, for one reason."""

    why: str
    which: tuple[str, ...]

    def __str__(self) -> str:
        more = len(self.which) - SHOWN
        shown = [_cut(text) for text in self.which[:SHOWN]] + [f"and {more} more"] * (more > 0)
        return f"left out, {self.why}: {len(self.which)} ({'; '.join(shown)})"


@dataclass(frozen=True)
class PretrainingMolecules:
    """The molecules of a pretraining.

    Attributes
    ----------
    smiles : tuple of str, (n,)
        Canonical, each once, in the order of the table.
    names : tuple of str or None, (n,)
    merged : int
        Rows of the table that were the same molecule as an earlier one.
    left_out : tuple of ExcludedMolecules
    source : str
        The table's path as it was given.
    """

    smiles: tuple[str, ...]
    names: tuple[str | None, ...]
    merged: int
    left_out: tuple[ExcludedMolecules, ...]
    source: str

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def digest(self) -> str:
        """Sha256 over molecules and names, in order."""
        return digest([list(self.smiles), list(self.names)])

    def without(self, refused: Mapping[str, str], why: str) -> PretrainingMolecules:
        """Leave molecules out; `refused` says of each one why."""
        gone = [text for text in self.smiles if text in refused]
        if not gone:
            return self
        kept = [row for row, text in enumerate(self.smiles) if text not in refused]
        return PretrainingMolecules(
            tuple(self.smiles[row] for row in kept),
            tuple(self.names[row] for row in kept),
            self.merged,
            (*self.left_out, ExcludedMolecules(why, tuple(refused[text] for text in gone))),
            self.source,
        )

    def held_out(self, share: float, seed: int) -> NDArray[np.int64]:
        """Draw the rows to measure on, sorted; a constitution is on one side as a whole.

        Raises
        ------
        InputError
            There are too few constitutions to have molecules on both sides.
        """
        groups: dict[str, list[int]] = {}
        for row, text in enumerate(self.smiles):
            groups.setdefault(_constitution(text), []).append(row)
        order = np.random.default_rng([seed, len(groups)]).permutation(len(groups))
        members = list(groups.values())
        wanted, rows = max(1, round(share * len(self))), list[int]()
        for group in order:
            if len(rows) >= wanted:
                break
            rows += members[group]
        if len(rows) >= len(self) - 1:
            raise InputError(
                f"{len(self)} molecules of {len(groups)} constitutions leave fewer than two to "
                "train on; give more molecules"
            )
        return np.sort(np.array(rows, dtype=np.int64))


def choose_molecules(spec: PretrainingSpec, named: bool, cache: Path) -> PretrainingMolecules:
    """Read the table of a pretraining.

    Parameters
    ----------
    spec : PretrainingSpec
    named : bool
        Whether a molecule needs a name.
    cache : Path
        Where curated tables are kept, for a study to exclude.

    Raises
    ------
    InputError
        The table cannot be read, or no molecule is left.
    """
    table = spec.molecules
    needed = (table.smiles, *([table.names] if table.names else []))
    chosen = _merged(read_rows(find_table(table.file), needed), table)
    if table.exclude is not None:
        chosen = _unseen(chosen, table.exclude, cache)
    if named:
        nameless = {
            text: text for text, name in zip(chosen.smiles, chosen.names, strict=True) if not name
        }
        chosen = chosen.without(nameless, "no name")
    return chosen


def find_table(file: str) -> Path:
    """Return the table's path; a relative one may lie below ``$OLFACTION_ARCHIVE``."""
    given, archive = Path(file).expanduser(), os.environ.get(ARCHIVE_VARIABLE)
    tried = [given] if archive is None else [given, Path(archive).expanduser() / given]
    for path in tried:
        if path.is_file():
            return path
    raise InputError(
        f"molecules.file: there is no '{file}' (tried {', '.join(map(str, tried))}); correct it, "
        f"or set {ARCHIVE_VARIABLE} to a folder made by `study data fetch`"
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 4] + " ..."


def _merged(rows: Sequence[Row], table: MoleculeTableConfig) -> PretrainingMolecules:
    """Make SMILES canonical and join equal ones; the first name there is counts."""
    found: dict[str, str | None] = {}
    broken, known = [], 0
    for number, row in enumerate(rows, start=2):
        parsed = parse_structure(row[table.smiles].strip(), table.key)
        if parsed is None:
            broken.append(f"row {number} '{row[table.smiles]}'")
            continue
        known += 1
        name = (row[table.names].strip() or None) if table.names else None
        found[parsed.smiles] = found.get(parsed.smiles) or name
    left = (
        (ExcludedMolecules("not a SMILES of at least one atom", tuple(broken)),) if broken else ()
    )
    return PretrainingMolecules(
        tuple(found), tuple(found.values()), known - len(found), left, table.file
    )


def _unseen(chosen: PretrainingMolecules, source: str, cache: Path) -> PretrainingMolecules:
    """Leave out the molecules of a study, by constitution."""
    seen = load_or_build(read_study(source).data, cache / "datasets").smiles
    barred = {_constitution(text) for text in seen}
    met = {text: text for text in chosen.smiles if _constitution(text) in barred}
    return chosen.without(met, f"molecules of the study '{source}'")


def _constitution(smiles: str) -> str:
    found = parse_structure(smiles, "nonstereo")
    if found is None:
        raise InputError(f"molecule '{smiles}' could not be parsed")
    return found.constitution
