"""Manage the studies of a storage: list, describe, rename and delete them.

A study is its folder. Whatever a rename or a deletion is interrupted at, a readable study is left
until the last shared file is gone, and the same call finishes the work:

* `rename_study` writes the new name into the old folder, copies the folder, writes the study file
  last, and then removes the old folder, beginning with its study file.
* `delete_study` removes the shared files that no other study uses, results last because they tell
  which versions the study has, and then the folder, beginning with its study file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import ValidationError

from fusion import FusionError
from modalities import ModalityError
from study.artifacts.study_folder import NAME, RENAMING, REPORT, SCRATCH, read_spec, write_spec
from study.config.study import RunConfig, StudySpec
from study.errors import InputError, StudyError
from study.results.study_results import Study, open_study
from study.runner.status import read_last_run
from study.runner.usage import KINDS, StudyUsage, find_usage, list_shared_files
from study.storage.checksums import LedgerError, add_json_checksum, verify_json_checksum
from study.storage.lock import (
    LockedError,
    StudyLock,
    find_locked_folders,
    is_lock,
    read_holder,
    remove_lock,
)
from study.storage.mirror import local_folder
from study.storage.storage import Storage
from study.tracking.open import PagesLocation, find_pages, tracking_address

_UNREADABLE = (StudyError, ModalityError, FusionError)
"""What opening a study raises if its files are damaged or name components that are not here."""
FOLDER = "folder"
"""Kind of the files in the folder of a study; the kinds of shared files are `usage.KINDS`."""


class StudyState(StrEnum):
    """State of a study of a storage."""

    RUNNING = "running"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class StudyOverview:
    """One line about a study; what cannot be read is None.

    Attributes
    ----------
    name : str
    state : StudyState
    finished, planned, failed : int or None
        Numbers of trials, of the version with the most finished ones.
    data : str or None
        Name of the data set.
    molecules, labels : int or None
    last_run : datetime or None
        When a launch of the study was last seen to run, in UTC.
    note : str
        Who runs it, why it cannot be read, or what an interrupted command has left to do.
    """

    name: str
    state: StudyState
    finished: int | None = None
    planned: int | None = None
    failed: int | None = None
    data: str | None = None
    molecules: int | None = None
    labels: int | None = None
    last_run: datetime | None = None
    note: str = ""


@dataclass(frozen=True)
class FileCount:
    """A number of files and their size in bytes."""

    files: int
    size: int

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> FileCount:
        """Count files by their sizes."""
        return cls(len(sizes), sum(sizes.values()))


@dataclass(frozen=True)
class StudyDescription:
    """What a launched study is and where its files are.

    Attributes
    ----------
    overview : StudyOverview
    description : str
        As in the study file.
    file, folder : str
        The stored study file, and the folder of the study.
    digest : str
        Digest of the data set.
    split : str
        Scheme of the groups, folds and repeats.
    fractions, seeds : tuple
    arms : tuple of str
    versions : tuple of str
        Versions with results, the one that is read first, with their numbers of trials.
    places : mapping of str to str
        Folders of the shared files by kind; the report and the tracking store if there are any.
    files : mapping of str to FileCount
        The files that the study uses by kind. Those outside its folder may serve others too.
    """

    overview: StudyOverview
    description: str
    file: str
    folder: str
    digest: str
    split: str
    fractions: tuple[float, ...]
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    versions: tuple[str, ...]
    places: Mapping[str, str]
    files: Mapping[str, FileCount]


@dataclass(frozen=True)
class Deletion:
    """What a deletion removes.

    Attributes
    ----------
    name, storage : str
    freed : mapping of str to FileCount
        Files that are removed, by kind.
    kept : mapping of str to FileCount
        Files that the study uses too and that stay, by kind.
    used_by : tuple of str
        The other studies that use those.
    pages : PagesLocation or None
        Tracking pages of the study, which stay.
    """

    name: str
    storage: str
    freed: Mapping[str, FileCount]
    kept: Mapping[str, FileCount] = field(default_factory=dict)
    used_by: tuple[str, ...] = ()
    pages: PagesLocation | None = None


@dataclass(frozen=True)
class Renaming:
    """A rename that is done; `pages` are the tracking pages under the old name, which stay."""

    old: str
    new: str
    folder: str
    pages: PagesLocation | None = None


def list_studies(storage: str) -> list[StudyOverview]:
    """Return an overview of every study of a storage, sorted by name; unreadable ones included."""
    root = Storage(storage)
    return [_read_overview(root.subfolder(name), name) for name in root.find_folders_with(NAME)]


def describe_study(storage: str, name: str) -> StudyDescription:
    """Describe a launched study.

    Raises
    ------
    InputError
        There is no such study, or it cannot be read; the message says why.
    """
    root, home = _locate(storage, name)
    if not home.exists(NAME):
        raise InputError(_format_missing(root, home))
    study = _open(home, name)
    usage, spec = find_usage(study), study.spec
    files = {FOLDER: FileCount.of(_list_folder(home))}
    for kind, sizes in list_shared_files(root).items():
        files[kind] = FileCount.of({f: size for f, size in sizes.items() if usage.includes(f)})
    places = {kind: root.subfolder(folder).address for kind, folder in KINDS.items()}
    if home.sizes(REPORT):
        places["report"] = home.subfolder(REPORT).address
    tracking = tracking_address(spec.run, storage)
    if tracking is not None:
        places["tracking"] = tracking
    repeats = f", {spec.split.repeats} repeats" if spec.split.repeats > 1 else ""
    return StudyDescription(
        overview=_read_overview(home, name, study),
        description=spec.description,
        file=home.path(NAME),
        folder=home.address,
        digest=study.data.dataset.digest,
        split=f"{spec.split.groups} groups, {spec.split.folds} folds{repeats}",
        fractions=spec.fractions,
        seeds=spec.seeds,
        arms=tuple(str(arm) for arm in study.plan.arms),
        versions=tuple(str(version).replace("'", "") for version in study.versions),
        places=places,
        files=files,
    )


def rename_study(storage: str, old: str, new: str) -> Renaming:
    """Rename a study: its folder, and the name in its stored study file.

    Results do not depend on the name, so nothing is trained again. The tracking pages and the
    report keep the old name until they are written again.

    Raises
    ------
    InputError
        There is no study `old`, `new` is not a valid name, or there is something of that name.
    LockedError
        One of the two is being launched.
    """
    root, home = _locate(storage, old)
    target = root.subfolder(_check_name(new))
    if old == new:
        raise InputError(f"study '{old}' has that name already; give another one")
    if not (home.exists(NAME) or home.exists(RENAMING)):
        raise InputError(_format_missing(root, home))
    _check_unused(home, target)
    with _lock(home, "renamed"), _lock(target, "the new name of a study"):
        _check_unused(home, target)
        if home.exists(NAME) and not target.exists(NAME):
            _copy_folder(home, target, new)
        _remove_folder(home)
    home.remove_empty_folders()
    pages = _find_pages(target, storage, old)
    return Renaming(old, new, target.address, pages)


def delete_study(
    storage: str, name: str, *, dry_run: bool = False, keep_shared: bool = False
) -> Deletion:
    """Delete a study: its folder, and the shared files that no other study of the storage uses.

    Tracking pages and pretrained weights stay. Curated tables, features, embeddings, checkpoints
    and results stay if another study of the storage uses them.

    Parameters
    ----------
    storage : str
        Folder of results.
    name : str
    dry_run : bool
        Remove nothing; return what would be removed.
    keep_shared : bool
        Remove the folder alone.

    Raises
    ------
    InputError
        There is no such study, or it cannot be told which shared files others use, because a
        study of the storage cannot be read: the message names it. Nothing was removed.
    LockedError
        The study is being launched.
    """
    root, home = _locate(storage, name)
    if not home.sizes(""):
        raise InputError(_format_missing(root, home))
    if dry_run:
        return _plan_deletion(storage, name, keep_shared=keep_shared)[0]
    with _lock(home, "deleted"):
        deletion, files = _plan_deletion(storage, name, keep_shared=keep_shared)
        for file in files:
            _remove_file(root, file)
        _remove_folder(home)
    home.remove_empty_folders()
    return deletion


def _locate(storage: str, name: str) -> tuple[Storage, Storage]:
    """Return a storage and the folder of a study in it."""
    root = Storage(storage)
    return root, root.subfolder(_check_name(name))


def _check_name(name: str) -> str:
    """Return a name that a study can have.

    Raises
    ------
    InputError
        It has other characters, is too long, or is that of a shared folder of the storage.
    """
    smallest = {"name": name, "data": "starter", "grid": [{"features": [["mordred"]]}]}
    try:
        return StudySpec.model_validate(smallest).name
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise InputError(f"'{name}' cannot be the name of a study: {reason}") from error


def _format_missing(root: Storage, home: Storage) -> str:
    return f"{home.url} holds no study: `study list` shows those of {root.url}, --storage others"


def _open(home: Storage, name: str) -> Study:
    """Open a study; InputError with its name if it cannot be read."""
    try:
        return open_study(home)
    except _UNREADABLE as error:
        raise InputError(f"study '{name}' cannot be read: {error}") from error


def _read_overview(home: Storage, name: str, study: Study | None = None) -> StudyOverview:
    notes, last_run = list[str](), None
    try:
        owner, renaming, last_run = read_holder(home), _read_renaming(home), read_last_run(home)
        notes += [f"run by {owner}"] if owner else []
        if renaming:
            notes.append(f"half renamed: `study rename {name} {renaming}` finishes it")
        study = study or open_study(home)
        trials = set(study.trials_by_id())
        finished = trials & study.ledger.ids()
        failed = len(study.ledger.failures(trials - finished))
    except _UNREADABLE as error:
        notes.append(str(error))
        return StudyOverview(name, StudyState.UNREADABLE, last_run=last_run, note="; ".join(notes))
    ended = StudyState.COMPLETE if len(finished) == len(trials) else StudyState.INCOMPLETE
    dataset = study.data.dataset
    return StudyOverview(
        name=name,
        state=StudyState.RUNNING if owner else ended,
        finished=len(finished),
        planned=len(trials),
        failed=failed,
        data=study.spec.data.name,
        molecules=len(dataset),
        labels=len(dataset.label_names),
        last_run=last_run,
        note="; ".join(notes),
    )


@contextmanager
def _lock(home: Storage, verb: str) -> Iterator[None]:
    """Hold the lock of a folder.

    Raises
    ------
    LockedError
        A launch holds it; the message names the owner.
    """
    lock = StudyLock(home)
    with _name_holder(home, verb), lock.hold(note=lambda _: None):
        yield


@contextmanager
def _name_holder(home: Storage, verb: str) -> Iterator[None]:
    try:
        yield
    except LockedError as error:
        who = read_holder(home) or "an unknown process"
        raise LockedError(
            f"{home.address} cannot be {verb} while it is being launched by {who}; wait until the "
            "launch ends, or stop it"
        ) from error


def _list_folder(home: Storage) -> dict[str, int]:
    """Return the sizes of the files of a study's folder, without those of the lock."""
    return {name: size for name, size in home.sizes("").items() if not is_lock(name)}


def _read_renaming(home: Storage) -> str:
    """Return the new name of a study whose renaming has begun, or ''."""
    try:
        value = verify_json_checksum(home.read(RENAMING), home.path(RENAMING), ("to",))
    except (FileNotFoundError, LedgerError):
        return ""
    return str(value["to"])


def _check_unused(home: Storage, target: Storage) -> None:
    """Refuse a new name that is in use, unless by an interrupted renaming of this study."""
    old, new = (folder.address.rpartition("/")[2] for folder in (home, target))
    begun = _read_renaming(home)
    if begun not in ("", new):
        raise InputError(
            f"study '{old}' is half renamed to '{begun}': finish that first with "
            f"`study rename {old} {begun}`"
        )
    if begun and not home.exists(NAME) and not target.exists(NAME):
        raise InputError(
            f"the renaming of '{old}' to '{new}' cannot be finished: {target.path(NAME)} is "
            "missing; launch the study again under its new name, then delete the old folder"
        )
    if target.exists(NAME) and not (begun and _is_copy(home, target)):
        raise InputError(f"there is a study '{new}' in that storage already; give another name")
    files = sorted(_list_folder(target))
    if files and not begun:
        raise InputError(
            f"{target.address} is not empty: it holds {files[0]}; give another name, or remove it"
        )


def _is_copy(home: Storage, target: Storage) -> bool:
    """Return whether the study files of two folders agree in all but the name."""
    if not home.exists(NAME):
        return True
    one, other = read_spec(home), read_spec(target)
    return one is not None and other == one.model_copy(update={"name": other.name if other else ""})


def _copy_folder(home: Storage, target: Storage, new: str) -> None:
    """Copy a study under a new name; its study file, which makes it a study, is written last."""
    spec = read_spec(home)
    if spec is None:
        raise InputError(f"{home.url} holds no study")
    home.write(RENAMING, add_json_checksum({"to": new}))
    for name in _list_folder(home):
        if name not in (NAME, RENAMING) and not name.startswith((".", f"{SCRATCH}/")):
            target.write(name, home.read(name))
    write_spec(target, spec.model_copy(update={"name": new}))


def _remove_folder(home: Storage) -> None:
    """Remove the files of a study: the study file first, the mark of a renaming last."""
    names = [name for name in _list_folder(home) if name not in (NAME, RENAMING)]
    for name in (NAME, *names):
        home.remove(name)
    if not home.is_local:
        shutil.rmtree(local_folder(home), ignore_errors=True)
    remove_lock(home)
    if home.exists(RENAMING):
        home.remove(RENAMING)


def _remove_file(root: Storage, name: str) -> None:
    """Remove a shared file, and its copy on this machine if the storage is an object store."""
    root.remove(name)
    if not root.is_local:
        (local_folder(root) / name).unlink(missing_ok=True)


def _plan_deletion(storage: str, name: str, *, keep_shared: bool) -> tuple[Deletion, list[str]]:
    """Return what a deletion removes, and the shared files among it in the order of removal."""
    root, home = _locate(storage, name)
    folder, pages = FileCount.of(_list_folder(home)), _find_pages(home, storage, name)
    if keep_shared or not home.exists(NAME):  # without a study file it owns no shared file
        return Deletion(name, root.address, {FOLDER: folder}, pages=pages), []
    try:
        own = find_usage(open_study(home))
    except _UNREADABLE as error:
        raise InputError(_format_unknown_usage(name, name, str(error))) from error
    others = _find_other_usages(root, name)
    freed, kept, used_by, order = {FOLDER: folder}, {}, set[str](), list[str]()
    for kind, sizes in list_shared_files(root).items():
        mine = {file: size for file, size in sizes.items() if own.includes(file)}
        users = {file: [n for n, usage in others.items() if usage.includes(file)] for file in mine}
        free = {file: size for file, size in mine.items() if not users[file]}
        freed[kind] = FileCount.of(free)
        kept[kind] = FileCount.of({file: mine[file] for file in mine.keys() - free.keys()})
        used_by.update(*users.values())
        # Results tell the versions of a study and their failures do not, so they go last.
        order += sorted(free, key=lambda file: (file.endswith(".trial"), file))
    order.sort(key=lambda file: file.startswith(f"{KINDS['results']}/"))
    return Deletion(name, root.address, freed, kept, tuple(sorted(used_by)), pages), order


@dataclass(frozen=True)
class _AllFeatures:
    """Usage of a running pretraining: any feature."""

    def includes(self, name: str) -> bool:
        return name.startswith(f"{KINDS['features']}/")


def _find_other_usages(root: Storage, name: str) -> dict[str, StudyUsage | _AllFeatures]:
    """Return the shared files that the other studies and the running pretrainings use, by name.

    Raises
    ------
    InputError
        A study cannot be read, or is being launched for the first time and has no file yet.
    """
    launched = root.find_folders_with(NAME)
    for other, owner in find_locked_folders(root).items():
        if other != name and other not in launched:
            reason = f"it is being launched for the first time by {owner}"
            raise InputError(_format_unknown_usage(name, other, reason))
    usages: dict[str, StudyUsage | _AllFeatures] = {}
    for other in launched:
        if other == name:
            continue
        try:
            usages[other] = find_usage(open_study(root.subfolder(other)))
        except _UNREADABLE as error:
            raise InputError(_format_unknown_usage(name, other, str(error))) from error
    running = find_locked_folders(root.subfolder("weights"))
    return usages | {f"the pretraining of {weights}": _AllFeatures() for weights in running}


def _format_unknown_usage(name: str, other: str, reason: str) -> str:
    return (
        f"study '{name}' cannot be deleted with its results and embeddings: which of them study "
        f"'{other}' uses cannot be told ({reason}). Nothing was removed. Make '{other}' readable "
        f"first, or remove the folder of '{name}' alone with --keep-shared"
    )


def _find_pages(home: Storage, storage: str, name: str) -> PagesLocation | None:
    """Return where the pages of a study are; None if it has none.

    Without a readable study file, those in the database of the storage are found.
    """
    try:
        spec = read_spec(home)
    except InputError:
        spec = None
    return find_pages(spec.run if spec is not None else RunConfig(), storage, name)
