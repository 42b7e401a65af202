"""What travels to a cluster with a study: its checked file, small local files, variables."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from study.config.loading import PRESETS, VARIABLE, check_study, find_file, read_sections
from study.config.study import StudySpec
from study.errors import InputError
from study.planning.plan import make_plan

MAX_BYTES = 50 * 2**20
"""Files of a study above this are not shipped: Ray keeps them in the memory of its head."""
_FILE_KEYS = frozenset({"archive", "file", "names", "weights"})
_URL = re.compile(r"\w[\w+.-]*://")


@dataclass(frozen=True)
class JobBundle:
    """A study ready to travel.

    Attributes
    ----------
    spec : StudySpec
        The study as checked here.
    sections : mapping
        The study file with the overrides in place; ``${NAME}`` stays and is read again there.
    files : mapping of str to Path
        Path as the study names it -> file or folder here.
    variables : mapping of str to str
        Those the study file reads, and those asked for by name.
    """

    spec: StudySpec
    sections: Mapping[str, Any]
    files: Mapping[str, Path]
    variables: Mapping[str, str]

    @property
    def name(self) -> str:
        """File name of the study in the parcel."""
        return f"{self.spec.name}.yaml"

    @property
    def text(self) -> str:
        """The study file."""
        return yaml.safe_dump(dict(self.sections), sort_keys=False, allow_unicode=True)

    @property
    def digest(self) -> str:
        """Sha256 of the study file and of every file that travels with it."""
        summed = hashlib.sha256(self.text.encode())
        for name, place in sorted(self.files.items()):
            for file in _members(place):
                summed.update(f"\0{name}/{file.relative_to(place)}\0".encode())
                summed.update(file.read_bytes())
        return summed.hexdigest()

    def write(self, folder: Path) -> None:
        """Lay out the working directory, all but the variables."""
        for name, place in self.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                shutil.copytree(place, target)
            else:
                shutil.copyfile(place, target)
        (folder / self.name).write_text(self.text, encoding="utf-8")


def build_job_bundle(source: str, overrides: Sequence[str], names: Sequence[str]) -> JobBundle:
    """Check a study as far as it can be checked here, and gather what it needs.

    Parameters
    ----------
    source, overrides
        As of `study.config.loading.read_study`.
    names : sequence of str
        Environment variables to take along.

    Raises
    ------
    InputError
        A mistake of the file; results would lie in a folder of Ray's; a local file is too large
        or lies outside; a variable is not set.
    """
    path = find_file(source, PRESETS, "a study file")
    sections = read_sections(path, overrides, "a study file")
    spec = check_study(sections, str(path))
    make_plan(spec)
    _check_storage(spec)
    wanted = sorted({*names, *VARIABLE.findall(yaml.safe_dump(sections))})
    return JobBundle(spec, sections, _local_files(sections), _values(wanted))


def _check_storage(spec: StudySpec) -> None:
    """Refuse results below the folder of a job, which Ray removes."""
    storage = spec.run.storage
    if not (Path(storage).is_absolute() or _URL.match(storage)):
        raise InputError(
            f"run.storage is '{storage}', relative to a folder that Ray removes after the job; "
            "give a folder that every node mounts or a URL, for example --storage /shared/studies"
        )


def _values(names: Sequence[str]) -> dict[str, str]:
    unset = [name for name in names if name not in os.environ]
    if unset:
        raise InputError(f"--env {unset[0]}: the environment variable {unset[0]} is not set here")
    return {name: os.environ[name] for name in names}


def _local_files(sections: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files here that the study names by relative paths."""
    named = {text for text in _named(sections) if not Path(text).is_absolute()}
    found = {text: Path(text) for text in sorted(named) if Path(text).exists()}
    for text, place in found.items():
        if not place.resolve().is_relative_to(Path.cwd()):
            raise InputError(
                f"'{text}' lies outside of {Path.cwd()}, from which files travel; start from a "
                "folder above both, or give its absolute path on the cluster"
            )
        size = sum(file.stat().st_size for file in _members(place))
        if size > MAX_BYTES:
            raise InputError(
                f"'{text}' has {size / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} MB travel with "
                "a study: copy it to storage that every node mounts and give its absolute path"
            )
    return found


def _named(value: object, key: str = "") -> Iterator[str]:
    """Yield every text of a study file that stands for a file or folder."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _named(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _named(item, key)
    elif isinstance(value, str) and key in _FILE_KEYS:
        yield value


def _members(place: Path) -> list[Path]:
    """Return the files of a folder, sorted; a file is its only member."""
    return sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
