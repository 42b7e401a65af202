"""Load study files and results, and build studies from tables in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.api.results import StudyResults
from study.config.loading import (
    PRESETS,
    apply_override,
    check_study,
    find_file,
    read_sections,
    study_name,
)
from study.config.study import StudySpec
from study.errors import InputError
from study.results.study_results import load_snapshot
from study.storage.storage import Storage, write_atomic

if TYPE_CHECKING:
    from pandas import DataFrame


def load_spec(
    source: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    table: DataFrame | None = None,
    smiles: str = "smiles",
) -> StudySpec:
    """Read and check a study.

    Parameters
    ----------
    source : str, Path or mapping
        A study file, the name of a preset, or the content of a study file.
    overrides : mapping of str to value, optional
        Values by dotted key, e.g. ``{"training.epochs": 20}``.
    table : DataFrame, optional
        Molecules and labels: a column of SMILES, and one column of 0 and 1 per label. It replaces
        the sources in the section ``data``, whose other keys stay, and is stored as a CSV file in
        the folder ``tables`` of the storage, named by its content.
    smiles : str
        Column of `table` with the SMILES.

    Raises
    ------
    InputError
        The study has mistakes; the message lists them all, with place and allowed values.

    Examples
    --------
    >>> import study
    >>> spec = study.load_spec("quickstart", {"training.epochs": 5})
    >>> spec.name, spec.training.epochs
    ('quickstart', 5)
    """
    items = [f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items()]
    if isinstance(source, Mapping):
        raw, place, folder = json.loads(json.dumps(source)), "the study", None
        for item in items:
            apply_override(raw, item)
    else:
        path = find_file(str(source), PRESETS, "a study file")
        raw, place, folder = read_sections(path, items, "a study file"), str(path), path.parent
    if table is not None:
        storage = str(raw.get("run", {}).get("storage", "studies"))
        section = raw.get("data")
        rest = (
            {k: v for k, v in section.items() if k != "preset"} if isinstance(section, dict) else {}
        )
        file, content = _prepare_table(table, smiles, storage)
        source_of_table = {"source": "csv", "file": str(file), "smiles": smiles}
        raw["data"] = {**rest, "sources": [source_of_table]}
        spec = check_study(raw, place, folder)
        file.parent.mkdir(parents=True, exist_ok=True)  # only a study without mistakes writes
        write_atomic(file, content)
        return spec
    return check_study(raw, place, folder)


def load_results(
    name: str | Path, storage: str = "studies", version: str | None = None
) -> StudyResults:
    """Load the results of a launched study.

    Parameters
    ----------
    name : str or Path
        Name of a launched study, or its file.
    storage : str
        Folder of results, or its URL (``s3://bucket/folder``).
    version : str, optional
        Text that selects the version of the results. Default: the one with the most finished
        trials.

    Raises
    ------
    InputError
        There is no such study, or it has no results of that version.
    """
    folder = Storage(storage).subfolder(study_name(str(name)))
    return StudyResults(load_snapshot(folder, version))


def _prepare_table(table: DataFrame, smiles: str, storage: str) -> tuple[Path, bytes]:
    """Return the file of a table below the storage, and its content."""
    if smiles not in table.columns:
        raise InputError(
            f"the table has no column '{smiles}'; its columns: {', '.join(map(str, table))}; "
            "name the one with the SMILES: smiles=..."
        )
    if "://" in storage:
        raise InputError(
            f"a table in memory cannot be stored below {storage}; write it to a CSV file and name "
            "that in the section 'data'"
        )
    labels = table.drop(columns=smiles).replace({True: 1, False: 0})
    content = labels.assign(**{smiles: table[smiles]}).to_csv(index=False).encode()
    name = f"{hashlib.sha256(content).hexdigest()[:16]}.csv"
    return Path(storage) / "tables" / name, content
