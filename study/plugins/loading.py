"""Plug-ins that a study file names: files and modules, loaded here and in the workers."""

from __future__ import annotations

import hashlib
import importlib
import re
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from study.errors import InputError, PluginError
from study.plugins.catalog import (
    DIGITS,
    Claim,
    Plugin,
    PluginKind,
    add_reference,
    clear_broken,
    digest_module,
    find_claims,
    find_file,
    find_plugin,
    mark_broken,
    remove_plugin,
    replace_plugin,
    used_plugins,
)
from study.plugins.registry import FAMILIES, Registry, collect_registrations

MAX_BYTES = 2**20
"""Size limit of a plug-in file: its text is sent with every task."""
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def load_plugins(references: Iterable[str], folder: Path | None = None) -> None:
    """Load the plug-ins that a file names, so that its other sections can name their components.

    Parameters
    ----------
    references : iterable of str
        Paths of Python files (``./composition.py``) and names of installed modules
        (``my_package.composition``).
    folder : Path, optional
        Folder of the file. Relative paths are looked up there, then in the working folder.

    Raises
    ------
    InputError
        A plug-in is not found, cannot be imported or has no component; or one of its names is
        claimed by two places, which the message names.
    """
    for reference in references:
        if is_file_reference(reference):
            path = find_plugin_file(reference, folder)
            _load_file(reference, str(path), _read_text(path, reference))
        else:
            _load_module(reference)


def load_stored_plugins(references: Iterable[str], place: str) -> None:
    """Load the plug-ins of a study that was read from its storage or tracking store.

    Whoever can write there must not choose which file runs here, so files are only looked up
    below the working folder, unless this process has loaded them for a study file.

    Raises
    ------
    PluginError
        A plug-in is not there; the message says what to do.
    """
    for reference in references:
        if find_plugin(reference) is not None:
            continue
        try:
            if is_file_reference(reference):
                _check_below_working_folder(reference)
            load_plugins([reference])
        except InputError as error:
            raise PluginError(
                f"{place} needs a plug-in: {error}; run the command in the folder of the study "
                "file, or give it that file in place of the study's name"
            ) from error


def _check_below_working_folder(reference: str) -> None:
    path = Path(reference)
    if path.is_absolute() or not (Path.cwd() / path).resolve().is_relative_to(Path.cwd().resolve()):
        raise InputError(
            f"plug-in '{reference}' is not below the working folder {Path.cwd()}, and a stored "
            "study cannot choose files elsewhere"
        )


def is_file_reference(reference: str) -> bool:
    """Whether an entry of ``plugins`` is a path, and not the name of a module."""
    return reference.endswith(".py") or "/" in reference or "\\" in reference


def find_plugin_file(reference: str, folder: Path | None = None) -> Path:
    """Return the file of a plug-in.

    Raises
    ------
    InputError
        There is no such file; the message says where it was looked for.
    """
    path = Path(reference).expanduser()
    folders = [Path.cwd()] if folder is None else [folder.absolute(), Path.cwd()]
    candidates = [path] if path.is_absolute() else [base / path for base in folders]
    candidates = list(dict.fromkeys(candidate.resolve() for candidate in candidates))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"plug-in '{reference}' is not a file; looked for {' and '.join(map(str, candidates))}; "
        "a path starts from the folder of the study file or from the working folder"
    )


def _read_text(path: Path, reference: str) -> str:
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"plug-in '{reference}': {path} cannot be read: {error}") from error
    if len(data) > MAX_BYTES:
        raise InputError(
            f"plug-in '{reference}': {path} has {len(data):,} bytes, but at most {MAX_BYTES:,} "
            "are sent to workers; install it as a package and name its module"
        )
    return text


def _load_file(reference: str, place: str, text: str) -> None:
    """Run the text of a file as a module, and add its components."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    label = re.sub(r"[^\w.-]", "_", Path(place).name)
    plugin = Plugin(PluginKind.FILE, reference, place, f"{label} {digest}", text)
    loaded = find_file(plugin.version)
    if loaded is not None:
        add_reference(reference, loaded)
        return
    stem = re.sub(r"\W", "_", Path(place).stem)
    name = f"olfaction_plugin_{stem}_{digest}"
    spec = spec_from_loader(name, _TextLoader(place, text))
    if spec is None:  # only without a loader
        raise InputError(f"plug-in '{reference}' ({place}) cannot be imported")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    with collect_registrations() as registered:
        try:
            spec.loader.exec_module(module)  # type: ignore[union-attr]  # it is the one above
        except Exception as error:  # the code of a plug-in may raise anything
            del sys.modules[name]
            raise InputError(_format_failed_import(reference, place, error)) from error
    _add(plugin, registered or _find_components(module, plugin))


class _TextLoader(SourceLoader):
    """Loads a module from a text, which need not be on this machine; writes no bytecode."""

    def __init__(self, path: str, text: str) -> None:
        self._path, self._text = path, text

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002 (signature of importlib)
        return self._path

    def get_data(self, path: str) -> bytes:
        if path != self._path:  # the cache of bytecode
            raise FileNotFoundError(path)
        return self._text.encode()


def _load_module(reference: str) -> None:
    """Import an installed module, and add its components."""
    if find_plugin(reference) is not None:  # Python imports a module once in a process
        return
    if not _MODULE.fullmatch(reference):
        raise InputError(
            f"plug-in '{reference}' must be the name of a module (my_package.composition) or the "
            "path of a file (./composition.py)"
        )
    with collect_registrations() as registered:
        try:
            module = importlib.import_module(reference)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{reference}.".startswith(f"{error.name}."):
                raise InputError(_format_failed_import(reference, "", error)) from error
            raise InputError(
                f"plug-in '{reference}': there is no module '{error.name}'; looked for in "
                f"{', '.join(map(repr, sys.path))}; install its package, or name a file, for "
                "example ./composition.py"
            ) from error
        except Exception as error:  # the code of a plug-in may raise anything
            raise InputError(_format_failed_import(reference, "", error)) from error
    version = f"{reference} {digest_module(reference)[:DIGITS]}"
    place = f"the module {reference} ({getattr(module, '__file__', 'no file')})"
    plugin = Plugin(PluginKind.MODULE, reference, place, version)
    _add(plugin, registered or _find_components(module, plugin))


def _format_failed_import(reference: str, place: str, error: Exception) -> str:
    where = f" ({place})" if place else ""
    return (
        f"plug-in '{reference}'{where} cannot be imported: {type(error).__name__}: {error}; what "
        "it imports must be installed on every machine that runs trials"
    )


def _find_components(module: ModuleType, plugin: Plugin) -> dict[tuple[str, str], type[Any]]:
    """Return the public classes of a module that have all members of one family.

    Raises
    ------
    InputError
        There is none, or a class has the members of two families.
    """
    components: dict[tuple[str, str], type[Any]] = {}
    for value in list(vars(module).values()):
        if not isinstance(value, type) or value.__module__ != module.__name__:
            continue
        families = [key for key, family in FAMILIES.items() if family.fits(value)]
        if value.__name__.startswith("_") or not families:
            continue
        if len(families) > 1:
            raise InputError(
                f"plug-in '{plugin.reference}' ({plugin.place}): the class '{value.__name__}' "
                f"could be a {' or a '.join(families)}; name it with study.register in the file"
            )
        components[families[0], to_component_name(value.__name__)] = value
    if not components:
        needed = "; ".join(f"{key}: {family.needs}" for key, family in FAMILIES.items())
        raise InputError(
            f"plug-in '{plugin.reference}' ({plugin.place}) has no component; a public class is "
            f"one by its members: {needed}"
        )
    return components


def to_component_name(class_name: str) -> str:
    """Return the component name of a class: ``RandomPerBatch`` -> ``random_per_batch``."""
    return _WORD.sub("_", class_name).lower()


def _add(plugin: Plugin, components: Mapping[tuple[str, str], type[Any]]) -> None:
    """Add a plug-in with its components, unless one is no valid component or claimed twice."""
    claims = [
        Claim(family, name, plugin, partial(_identity, component))
        for (family, name), component in components.items()
    ]
    for claim in claims:
        claim.parameters  # noqa: B018 (raises if an option cannot be set in a study file)
    replace_plugin(plugin, claims)
    try:
        for claim in claims:
            Registry(claim.family).check_claims(claim.name)
    except InputError:
        remove_plugin(plugin)
        raise


def _identity(component: type[Any]) -> type[Any]:
    return component


def serialize_plugins() -> list[dict[str, Any]]:
    """Return the plug-ins of this process as JSON values, for the workers of a launch.

    Components that were registered in this process are left out (`refuse_session_components`).
    """
    return [
        {
            "kind": plugin.kind.value,
            "reference": plugin.reference,
            "place": plugin.place,
            "version": plugin.version,
            "text": plugin.text,
            "components": [list(component) for component in components],
        }
        for plugin, components in used_plugins().items()
        if plugin.kind is not PluginKind.SESSION
    ]


def load_sent_plugins(values: Sequence[Mapping[str, Any]]) -> None:
    """Load the plug-ins of a launch in the process of a worker.

    One that is missing here, or of another version, fails when a task uses it: a launch can know
    plug-ins that its study does not use.
    """
    for value in values:
        components = [(family, name) for family, name in value["components"]]
        try:
            _load_sent(value, components)
        except InputError as error:
            mark_broken(components, f"on the machine {socket.gethostname()}: {error}")
        else:
            clear_broken(components)


def _load_sent(value: Mapping[str, Any], components: Sequence[tuple[str, str]]) -> None:
    kind = PluginKind(value["kind"])
    if kind is PluginKind.FILE:
        _load_file(value["reference"], value["place"], value["text"])
        return
    if kind is PluginKind.MODULE:
        _load_module(value["reference"])
    clear_broken(components)
    versions = {claim.plugin.version for key in components for claim in find_claims(*key)}
    if value["version"] not in versions:
        raise InputError(
            f"the launch uses the plug-in '{value['version']}', and this machine has "
            f"{' and '.join(map(repr, sorted(versions))) or 'none of that name'}; install the "
            "same version on every machine"
        )


def refuse_session_components(components: Iterable[tuple[str, str]]) -> None:
    """Refuse components that other processes cannot have.

    Parameters
    ----------
    components : iterable of (family, name)
        Components that a launch uses.

    Raises
    ------
    InputError
        One was registered in this process; the message names it and says what to do.
    """
    for family, name in sorted(set(components)):
        if any(claim.plugin.kind is PluginKind.SESSION for claim in find_claims(family, name)):
            raise InputError(
                f"the {family} '{name}' was registered in this process, and the workers of Ray "
                "are other processes. Nothing was run. Write its class to a file and name the "
                f"file in the study file (plugins: [./{name}.py]), or launch without Ray"
            )
