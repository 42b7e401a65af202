"""List, describe, rename and delete the studies of a storage."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from study.config.loading import study_name

if TYPE_CHECKING:
    from pandas import DataFrame

    from study.runner.manage import Deletion, Renaming, StudyDescription


def list_studies(storage: str = "studies") -> DataFrame:
    """Return one row per study of a storage: name, state, trials, data set, last run.

    Parameters
    ----------
    storage : str
        Folder of results, or its URL.
    """
    from pandas import DataFrame

    from study.runner.manage import StudyOverview
    from study.runner.manage import list_studies as list_overviews

    rows = [asdict(overview) for overview in list_overviews(storage)]
    return DataFrame(rows, columns=list(StudyOverview.__dataclass_fields__))


def describe_study(name: str, storage: str = "studies") -> StudyDescription:
    """Describe a launched study: its file, data, versions, files and sizes.

    Parameters
    ----------
    name : str
        Name of a launched study, or its file.
    storage : str
        Folder of results, or its URL.

    Raises
    ------
    InputError
        There is no such study, or it cannot be read.
    """
    from study.runner.manage import describe_study as describe

    return describe(storage, study_name(name))


def rename_study(old: str, new: str, storage: str = "studies") -> Renaming:
    """Rename a study; nothing is trained again, and its tracking pages stay.

    Parameters
    ----------
    old, new : str
        Names.
    storage : str
        Folder of results, or its URL.

    Raises
    ------
    InputError
        There is no study `old`, `new` is not a name, or there is a study `new`.
    LockedError
        A launch of the study runs.
    """
    from study.runner.manage import rename_study as rename

    return rename(storage, study_name(old), new)


def delete_study(
    name: str, storage: str = "studies", *, dry_run: bool = False, keep_shared: bool = False
) -> Deletion:
    """Delete a study, and the shared files that no other study of the storage uses.

    Parameters
    ----------
    name : str
    storage : str
        Folder of results, or its URL.
    dry_run : bool
        Only return what would be deleted.
    keep_shared : bool
        Keep results, embeddings, checkpoints and features, which later studies may use.

    Raises
    ------
    InputError
        There is no such study, or it cannot be known what other studies use.
    LockedError
        A launch of the study runs.
    """
    from study.runner.manage import delete_study as delete

    return delete(storage, study_name(name), dry_run=dry_run, keep_shared=keep_shared)
