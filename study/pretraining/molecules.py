"""The molecules of a pretraining: reading, canonical SMILES, duplicates, exclusion."""

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

SHOWN_MOLECULES = 2
"""Number of molecules in a line about those left out; `left_out.json` lists all."""

SHOWN_CHARACTERS = 90
"""Number of characters of one molecule, with the error message, in such a line."""


@dataclass(frozen=True)
class ExcludedMolecules:
    """Molecules of the table that are left out for one reason.

    Attributes
    ----------
    reason : str
    molecules : tuple of str
        SMILES, error messages or rows of the table, depending on the reason.
    """

    reason: str
    molecules: tuple[str, ...]

    def __str__(self) -> str:
        more = len(self.molecules) - SHOWN_MOLECULES
        shown = [_shorten(molecule) for molecule in self.molecules[:SHOWN_MOLECULES]]
        shown += [f"and {more} more"] if more > 0 else []
        return f"left out, {self.reason}: {len(self.molecules)} ({'; '.join(shown)})"


@dataclass(frozen=True)
class PretrainingMolecules:
    """The molecules of a pretraining.

    Attributes
    ----------
    smiles : tuple of str, (n,)
        Canonical SMILES without duplicates, in the order of the table.
    names : tuple of str or None, (n,)
        IUPAC names, if known.
    merged : int
        Number of rows of the table that repeat a molecule of an earlier row.
    left_out : tuple of ExcludedMolecules
        Molecules of the table that are not used.
    source : str
        Path of the table as written in the file.
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
        """Sha256 of molecules and names, in order."""
        return digest([list(self.smiles), list(self.names)])

    def without(self, refused: Mapping[str, str], reason: str) -> PretrainingMolecules:
        """Return the molecules without some of them.

        Parameters
        ----------
        refused : mapping of str to str
            Molecules to leave out, each with its description for `left_out`.
        reason : str
            Common reason.
        """
        excluded = tuple(refused[smiles] for smiles in self.smiles if smiles in refused)
        if not excluded:
            return self
        remaining = [row for row, smiles in enumerate(self.smiles) if smiles not in refused]
        return PretrainingMolecules(
            tuple(self.smiles[row] for row in remaining),
            tuple(self.names[row] for row in remaining),
            self.merged,
            (*self.left_out, ExcludedMolecules(reason, excluded)),
            self.source,
        )

    def draw_held_out(self, share: float, seed: int) -> NDArray[np.int64]:
        """Draw the held-out rows, sorted; molecules of one constitution are held out together.

        Raises
        ------
        InputError
            There are too few constitutions for both training and held-out molecules.
        """
        groups: dict[str, list[int]] = {}
        for row, smiles in enumerate(self.smiles):
            groups.setdefault(_find_constitution(smiles), []).append(row)
        order = np.random.default_rng([seed, len(groups)]).permutation(len(groups))
        members = list(groups.values())
        count, rows = max(1, round(share * len(self))), list[int]()
        for group in order:
            if len(rows) >= count:
                break
            rows += members[group]
        if len(rows) >= len(self) - 1:
            raise InputError(
                f"{len(self)} molecules of {len(groups)} constitutions leave fewer than two to "
                "train on; give more molecules"
            )
        return np.sort(np.array(rows, dtype=np.int64))


def choose_molecules(spec: PretrainingSpec, named: bool, cache: Path) -> PretrainingMolecules:
    """Read the table of a pretraining and choose its molecules.

    Parameters
    ----------
    spec : PretrainingSpec
    named : bool
        Whether every molecule needs a name.
    cache : Path
        Folder of curated data sets, for a study whose molecules are excluded.

    Raises
    ------
    InputError
        The table cannot be read.
    """
    table = spec.molecules
    columns = (table.smiles, *([table.names] if table.names else []))
    molecules = _canonicalize(read_rows(find_table(table.file), columns), table)
    if table.exclude is not None:
        molecules = _exclude_study(molecules, table.exclude, cache)
    if named:
        pairs = zip(molecules.smiles, molecules.names, strict=True)
        nameless = {smiles: smiles for smiles, name in pairs if not name}
        molecules = molecules.without(nameless, "no name")
    return molecules


def find_table(file: str) -> Path:
    """Return the path of the table; a relative one may be below ``$OLFACTION_ARCHIVE``.

    Raises
    ------
    InputError
        There is no such file.
    """
    original, archive = Path(file).expanduser(), os.environ.get(ARCHIVE_VARIABLE)
    paths = [original] if archive is None else [original, Path(archive).expanduser() / original]
    for path in paths:
        if path.is_file():
            return path
    raise InputError(
        f"molecules.file: there is no '{file}' (tried {', '.join(map(str, paths))}); correct the "
        f"path, or set {ARCHIVE_VARIABLE} to a folder made by `study data fetch`"
    )


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 4] + " ..."


def _canonicalize(rows: Sequence[Row], table: MoleculeTableConfig) -> PretrainingMolecules:
    """Make SMILES canonical and merge equal ones, which get the first name of their rows."""
    names: dict[str, str | None] = {}
    invalid, valid = [], 0
    for number, row in enumerate(rows, start=2):  # row 1 is the header
        structure = parse_structure(row[table.smiles].strip(), table.key)
        if structure is None:
            invalid.append(f"row {number} '{row[table.smiles]}'")
            continue
        valid += 1
        name = (row[table.names].strip() or None) if table.names else None
        names[structure.smiles] = names.get(structure.smiles) or name
    left_out = (
        (ExcludedMolecules("not a SMILES of at least one atom", tuple(invalid)),) if invalid else ()
    )
    return PretrainingMolecules(
        tuple(names), tuple(names.values()), valid - len(names), left_out, table.file
    )


def _exclude_study(
    molecules: PretrainingMolecules, source: str, cache: Path
) -> PretrainingMolecules:
    """Leave out the molecules of a study, by constitution."""
    excluded = load_or_build(read_study(source).data, cache / "datasets").smiles
    constitutions = {_find_constitution(smiles) for smiles in excluded}
    shared = {
        smiles: smiles for smiles in molecules.smiles if _find_constitution(smiles) in constitutions
    }
    return molecules.without(shared, f"molecules of the study '{source}'")


def _find_constitution(smiles: str) -> str:
    structure = parse_structure(smiles, "nonstereo")
    if structure is None:
        raise InputError(f"molecule '{smiles}' could not be parsed")
    return structure.constitution
