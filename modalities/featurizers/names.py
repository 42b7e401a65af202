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
from modalities.weights.locate import candidates

ARCHIVE_FOLDER = "OLFACTION_ARCHIVE"


@dataclass(frozen=True, eq=False)
class NameTable:
    """Names by molecule.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of the file.
    rows : tuple of (str, str, str)
        Place, SMILES and name of every row that has a name.
    """

    path: Path
    sha256: str
    rows: tuple[tuple[str, str, str], ...]

    def name_of(self, smiles: str) -> str | None:
        """Return the name of a molecule; None where the table has none that is right for it.

        In this order: the name of the same molecule, stereo and isotope marks included; the name
        of its constitution (an entry without marks); for a molecule without marks, the name of
        one that differs from it in marks only. Of several names the shortest, then the first in
        alphabetical order, is taken, so that the order of rows decides nothing.

        Raises
        ------
        ModalityError
            The SMILES, or one in the table, cannot be parsed.
        """
        exact, marked = self._index
        isomeric, constitution = read_structures(smiles)
        found = exact.get(isomeric) or exact.get(constitution)
        if found is None and isomeric == constitution:
            found = marked.get(constitution)
        return found

    @cached_property
    def _index(self) -> tuple[dict[str, str], dict[str, str]]:
        """Best name by isomeric SMILES, and by constitution."""
        exact: dict[str, str] = {}
        marked: dict[str, str] = {}
        for place, smiles, name in self.rows:
            try:
                isomeric, constitution = read_structures(smiles)
            except ModalityError as error:
                raise ModalityError(f"{place}: {error}; correct or delete the row") from error
            _keep_better(exact, isomeric, name)
            _keep_better(marked, constitution, name)
        return exact, marked


def read_structures(smiles: str) -> tuple[str, str]:
    """Canonical SMILES of a molecule, and of its constitution: no stereo and isotope marks.

    Raises
    ------
    ModalityError
        Not a SMILES.
    """
    from rdkit.Chem import MolToSmiles

    molecule = parse_smiles(smiles)
    written = [MolToSmiles(molecule), MolToSmiles(molecule, isomericSmiles=False)]
    # Without its marks a molecule can number differently: only the second writing is stable.
    plain = MolToSmiles(parse_smiles(written[1]), isomericSmiles=False)
    isomeric = plain if written[0] == written[1] else MolToSmiles(parse_smiles(written[0]))
    return isomeric, plain


def find_names(path: str) -> Path:
    """Resolve the path of a table of names.

    A relative path that is not there is looked for in the folder OLFACTION_ARCHIVE.

    Raises
    ------
    ModalityError
        There is no such file.
    """
    tried = candidates(path, ARCHIVE_FOLDER)
    for candidate in tried:
        if candidate.is_file():
            return candidate
    raise ModalityError(
        f"names '{path}' not found (tried {', '.join(map(str, tried))}); correct the path, or set "
        f"{ARCHIVE_FOLDER} to the folder it is relative to"
    )


def read_names(path: Path, smiles_column: str, name_column: str) -> NameTable:
    """Read a CSV table of names, once a process for as long as the file stays the same.

    Raises
    ------
    ModalityError
        A column is missing, or the file is not UTF-8 text.
    """
    stat = path.stat()
    stamp = (stat.st_mtime_ns, stat.st_size)
    return _read(path, smiles_column, name_column, stamp)


@lru_cache(maxsize=4)
def _read(
    path: Path,
    smiles_column: str,
    name_column: str,
    stamp: tuple[int, int],  # noqa: ARG001 (of the content)
) -> NameTable:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModalityError(f"names {path} are not UTF-8 text: {error}; save them so") from error
    rows = tuple(_named(path, text, smiles_column, name_column))
    return NameTable(path, sha256_of(content), rows)


def _named(path: Path, text: str, smiles: str, name: str) -> Iterator[tuple[str, str, str]]:
    table = csv.DictReader(io.StringIO(text, newline=""))
    columns = list(table.fieldnames or [])
    lacking = [column for column in (smiles, name) if column not in columns]
    if lacking:
        raise ModalityError(
            f"names {path} have no column '{lacking[0]}', only {', '.join(columns) or 'none'}; "
            "set smiles_column and name_column"
        )
    for row in table:
        found = (row[name] or "").strip()
        if found:
            yield f"names {path} line {table.line_num}", (row[smiles] or "").strip(), found


def _keep_better(names: dict[str, str], key: str, name: str) -> None:
    best = names.get(key)
    if best is None or (len(name), name) < (len(best), best):
        names[key] = name
