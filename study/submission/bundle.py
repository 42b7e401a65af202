"""What is sent to a cluster with a study: its checked file, small local files, variables."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from study.config.loading import PRESETS, VARIABLE, check_study, find_file, read_sections
from study.config.study import StudySpec
from study.errors import InputError
from study.planning.plan import make_plan
from study.plugins.loading import find_plugin_file, is_file_reference

MAX_BYTES = 50 * 2**20
"""Size limit of a file that is sent along: Ray keeps such files in the memory of its head node."""
_FILE_KEYS = frozenset({"archive", "file", "names", "weights"})
_URL = re.compile(r"\w[\w+.-]*://")


@dataclass(frozen=True)
class JobBundle:
    """A study with everything that its job on a cluster needs.

    Attributes
    ----------
    spec : StudySpec
        The study as checked on this machine.
    sections : mapping
        The study file with the overrides applied; ``${NAME}`` is kept and read on the cluster.
    files : mapping of str to Path
        Path as the study file names it -> file or folder on this machine.
    variables : mapping of str to str
        Environment variables that the study file reads, and those requested with ``--env``.
    plugins : mapping of str to Path
        Name beside the study file on the cluster -> plug-in file on this machine.
    """

    spec: StudySpec
    sections: Mapping[str, Any]
    files: Mapping[str, Path]
    variables: Mapping[str, str]
    plugins: Mapping[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """File name of the study in the bundle."""
        return f"{self.spec.name}.yaml"

    @property
    def text(self) -> str:
        """Text of the study file."""
        return yaml.safe_dump(dict(self.sections), sort_keys=False, allow_unicode=True)

    @property
    def digest(self) -> str:
        """Sha256 of the study file and of every file that is sent with it."""
        state = hashlib.sha256(self.text.encode())
        for name, path in sorted({**self.files, **self.plugins}.items()):
            for file in _list_files(path):
                # The names count too: a file that was renamed is another bundle.
                state.update(f"\0{name}/{file.relative_to(path)}\0".encode())
                state.update(file.read_bytes())
        return state.hexdigest()

    def write(self, folder: Path) -> None:
        """Write the working directory of the job: everything but the variables."""
        for name, path in {**self.files, **self.plugins}.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target)
            else:
                shutil.copyfile(path, target)
        (folder / self.name).write_text(self.text, encoding="utf-8")


def build_job_bundle(source: str, overrides: Sequence[str], names: Sequence[str]) -> JobBundle:
    """Check a study as far as this machine can, and collect what its job needs.

    Parameters
    ----------
    source, overrides
        As in `study.config.loading.read_study`.
    names : sequence of str
        Environment variables to send along.

    Raises
    ------
    InputError
        The file has a mistake; the results would be stored in a folder that Ray removes; a local
        file is too large or outside the working directory; a variable is not set.
    """
    path = find_file(source, PRESETS, "a study file")
    sections = read_sections(path, overrides, "a study file")
    spec = check_study(sections, str(path), path.parent)
    make_plan(spec)
    _check_storage(spec)
    plugins = _find_plugin_files(spec, path.parent)
    if plugins:
        modules = [text for text in spec.plugins if not is_file_reference(text)]
        sections = {**sections, "plugins": [*modules, *(f"./{name}" for name in plugins)]}
    wanted = sorted({*names, *VARIABLE.findall(yaml.safe_dump(sections))})
    files = _find_local_files(sections)
    return JobBundle(spec, sections, files, _read_variables(wanted), plugins)


def _find_plugin_files(spec: StudySpec, folder: Path) -> dict[str, Path]:
    """Return the plug-in files of a study by the name they get beside the study file."""
    references = [text for text in spec.plugins if is_file_reference(text)]
    files = [find_plugin_file(text, folder) for text in references]
    return {re.sub(r"[^A-Za-z0-9_.-]", "_", file.name): file for file in files}


def _check_storage(spec: StudySpec) -> None:
    """Reject a relative storage folder: it would be in the job's folder, which Ray removes."""
    storage = spec.run.storage
    if not (Path(storage).is_absolute() or _URL.match(storage)):
        raise InputError(
            f"run.storage is '{storage}', relative to a folder that Ray removes after the job; "
            "give a folder that every node mounts or a URL, for example --storage /shared/studies"
        )


def _read_variables(names: Sequence[str]) -> dict[str, str]:
    unset = [name for name in names if name not in os.environ]
    if unset:
        raise InputError(f"--env {unset[0]}: the environment variable {unset[0]} is not set here")
    return {name: os.environ[name] for name in names}


def _find_local_files(sections: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files of this machine that the study names by relative paths."""
    names = {text for text in _iterate_file_names(sections) if not Path(text).is_absolute()}
    files = {text: Path(text) for text in sorted(names) if Path(text).exists()}
    for text, path in files.items():
        if not path.resolve().is_relative_to(Path.cwd()):
            raise InputError(
                f"'{text}' is outside of the working directory {Path.cwd()}, from which files are "
                "sent; run the command in a folder above both, or give its absolute path on the "
                "cluster"
            )
        size = sum(file.stat().st_size for file in _list_files(path))
        if size > MAX_BYTES:
            raise InputError(
                f"'{text}' has {size / 2**20:.0f} MB, but at most {MAX_BYTES // 2**20} MB are sent "
                "with a study: copy it to storage that every node mounts and give its absolute path"
            )
    return files


def _iterate_file_names(value: object, key: str = "") -> Iterator[str]:
    """Yield every value of a study file that names a file or folder."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _iterate_file_names(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _iterate_file_names(item, key)
    elif isinstance(value, str) and key in _FILE_KEYS:
        yield value


def _list_files(path: Path) -> list[Path]:
    """Return the files below a folder, sorted; for a file, the file itself."""
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
