"""A table of IUPAC names, looked up by structure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from modalities._base import ModalityError
from modalities.featurizers.molecule import parse_smiles
from modalities.store.files import sha256_of
from modalities.weights.locate import list_candidate_paths

ARCHIVE_FOLDER = "OLFACTION_ARCHIVE"


@dataclass(frozen=True, eq=False)
class NameTable:
    """A table of IUPAC names.

    Attributes
    ----------
    path : Path
    sha256 : str
        Sha256 of the file.
    rows : tuple of (str, str, str)
        Place in the file, SMILES and name of every row that has a name.
    """

    path: Path
    sha256: str
    rows: tuple[tuple[str, str, str], ...]

    def find_name(self, smiles: str) -> str | None:
        """Return the name of a molecule, or None if the table has no correct one.

        In this order: the name of the same molecule, stereo and isotope marks included; the name
        of its constitution (an entry without marks); for a molecule without marks, the name of
        one that differs from it in marks only. Of several names the shortest is taken, then the
        first in alphabetical order, so that the order of the rows does not matter.

        Raises
        ------
        ModalityError
            The SMILES, or one in the table, cannot be parsed.
        """
        by_isomer, by_constitution = self._index
        isomeric, constitution = canonicalize(smiles)
        name = by_isomer.get(isomeric) or by_isomer.get(constitution)
        if name is None and isomeric == constitution:
            name = by_constitution.get(constitution)
        return name

    @cached_property
    def _index(self) -> tuple[dict[str, str], dict[str, str]]:
        """Best name by isomeric SMILES, and best name by constitution."""
        by_isomer: dict[str, str] = {}
        by_constitution: dict[str, str] = {}
        for place, smiles, name in self.rows:
            try:
                isomeric, constitution = canonicalize(smiles)
            except ModalityError as error:
                raise ModalityError(f"{place}: {error}; correct or delete the row") from error
            _set_if_better(by_isomer, isomeric, name)
            _set_if_better(by_constitution, constitution, name)
        return by_isomer, by_constitution


def canonicalize(smiles: str) -> tuple[str, str]:
    """Return the canonical SMILES of a molecule and of its constitution.

    The constitution has no stereo and isotope marks.

    Raises
    ------
    ModalityError
        The text is not a SMILES.
    """
    from rdkit.Chem import MolToSmiles

    molecule = parse_smiles(smiles)
    marked, unmarked = MolToSmiles(molecule), MolToSmiles(molecule, isomericSmiles=False)
    # Removing marks can change the canonical order of atoms, so the SMILES is canonical only
    # after it is parsed and written once more.
    constitution = MolToSmiles(parse_smiles(unmarked), isomericSmiles=False)
    isomeric = constitution if marked == unmarked else MolToSmiles(parse_smiles(marked))
    return isomeric, constitution


def find_names(path: str) -> Path:
    """Resolve the path of a table of names.

    A relative path that does not exist is also looked for in the folder OLFACTION_ARCHIVE.

    Raises
    ------
    ModalityError
        There is no such file.
    """
    paths = list_candidate_paths(path, ARCHIVE_FOLDER)
    for candidate in paths:
        if candidate.is_file():
            return candidate
    raise ModalityError(
        f"names '{path}' not found (tried {', '.join(map(str, paths))}); correct the path, or set "
        f"{ARCHIVE_FOLDER} to the folder it is relative to"
    )


def read_names(path: Path, smiles_column: str, name_column: str) -> NameTable:
    """Read a CSV table of names; cached per process until the file changes.

    Raises
    ------
    ModalityError
        A column is missing, or the file is not UTF-8 text.
    """
    stat = path.stat()
    return _read_version(path, smiles_column, name_column, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=4)
def _read_version(
    path: Path,
    smiles_column: str,
    name_column: str,
    stamp: tuple[int, int],  # noqa: ARG001 (key of the cache: time and size of the file)
) -> NameTable:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModalityError(
            f"names {path} are not UTF-8 text: {error}; save the file as UTF-8"
        ) from error
    rows = tuple(_parse_rows(path, text, smiles_column, name_column))
    return NameTable(path, sha256_of(content), rows)


def _parse_rows(
    path: Path, text: str, smiles_column: str, name_column: str
) -> Iterator[tuple[str, str, str]]:
    """Yield place, SMILES and name of every row that has a name."""
    table = csv.DictReader(io.StringIO(text, newline=""))
    columns = list(table.fieldnames or [])
    missing = [column for column in (smiles_column, name_column) if column not in columns]
    if missing:
        raise ModalityError(
            f"names {path} have no column '{missing[0]}', only {', '.join(columns) or 'none'}; "
            "set smiles_column and name_column"
        )
    for row in table:
        name = (row[name_column] or "").strip()
        if name:
            place = f"names {path} line {table.line_num}"
            yield place, (row[smiles_column] or "").strip(), name


def _set_if_better(names: dict[str, str], key: str, name: str) -> None:
    """Set the name of a key unless it has a shorter one, or an earlier one of equal length."""
    best = names.get(key)
    if best is None or (len(name), name) < (len(best), best):
        names[key] = name
