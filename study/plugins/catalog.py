"""The components from outside of this program that this process knows, and their origins.

A component comes from an installed package (entry point), from a file or module that a study file
names under ``plugins``, or from `study.plugins.registry.register`. Workers get the origins with
every task (`study.plugins.loading`).
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import CodeType
from typing import Any

from study.errors import InputError
from study.plugins.parameters import Parameter, inspect_parameters

GROUPS: Mapping[str, str] = {
    "modality": "olfaction_study.modalities",
    "operator": "olfaction_study.operators",
    "partition": "olfaction_study.partitions",
    "source": "olfaction_study.sources",
    "objective": "olfaction_study.objectives",
}
"""Groups of entry points, by family."""
DIGITS = 16
"""Hex digits of a sha256 that name the version of a plug-in."""


class PluginKind(StrEnum):
    """Where a plug-in comes from."""

    FILE = "file"
    MODULE = "module"
    ENTRY_POINT = "entry point"
    SESSION = "session"
    """Registered in this process; other processes do not have it."""


@dataclass(frozen=True)
class Plugin:
    """The origin of components from outside.

    Attributes
    ----------
    kind : PluginKind
    reference : str
        How a study file names it: a path or a module; else the name of the package or class.
    place : str
        Where it was found, for messages.
    version : str
        Name and version, part of the identity of what its components make:
        ``composition.py 3fa94c0b1d2e4f56`` or ``my-modality 0.1.0``.
    text : str
        Source text of a file, which is sent to workers; '' for other kinds.
    """

    kind: PluginKind
    reference: str
    place: str
    version: str
    text: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The version without its number."""
        return self.version.rpartition(" ")[0]


@dataclass(frozen=True)
class Claim:
    """A component from outside: its name, and the plug-in that has it.

    Attributes
    ----------
    family, name : str
    plugin : Plugin
    find : function
        Returns the class; raises InputError if there is none.
    """

    family: str
    name: str
    plugin: Plugin
    find: Callable[[], type[Any]]

    @cached_property
    def original(self) -> type[Any]:
        """The class as its author wrote it."""
        return self.find()

    @cached_property
    def component(self) -> type[Any]:
        """The class, whose ``version`` names the plug-in too."""
        original, plugin = self.original, self.plugin.version
        if not hasattr(original, "version"):
            return original

        def version(instance: Any) -> str:  # noqa: ANN401 (an instance of the class below)
            base: Any = super(versioned, instance)
            return _add_to_version(str(base.version), plugin)

        names = ("__module__", "__qualname__", "__doc__")
        members = {name: getattr(original, name) for name in names}
        versioned: Any = type(
            original.__name__, (original,), {**members, "version": property(version)}
        )
        return versioned  # type: ignore[no-any-return]  # a class made at run time

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """The options of the component."""
        return inspect_parameters(self.original, self.plugin.place)

    def __str__(self) -> str:
        return self.plugin.place


def _add_to_version(text: str, plugin: str) -> str:
    """Add a plug-in to the text of a `featurizer_version`."""
    if not text.endswith(")"):
        return f"{text} ({plugin})"
    return f"{text[:-1]}{'' if text.endswith('()') else ', '}{plugin})"


_claims: dict[tuple[str, str], list[Claim]] = {}
_plugins: dict[str, Plugin] = {}
_broken: dict[tuple[str, str], str] = {}


def find_claims(family: str, name: str) -> list[Claim]:
    """Return who claims a name from outside.

    Raises
    ------
    InputError
        The plug-in that the launch took the component from is missing in this process.
    """
    if (family, name) in _broken:
        raise InputError(_broken[family, name])
    explicit = _claims.get((family, name), [])
    installed = [
        claim
        for claim in _read_entry_points().get((family, name), ())
        if not any(_is_same_class(claim, other) for other in explicit)
    ]
    return [*installed, *explicit]


def claimed_names(family: str) -> set[str]:
    """Return the names of a family that are claimed from outside."""
    keys = {*_claims, *_broken, *_read_entry_points()}
    return {name for kind, name in keys if kind == family}


def find_plugin(reference: str) -> Plugin | None:
    """Return the loaded plug-in that study files name so; None if there is none."""
    return _plugins.get(reference)


def add_reference(reference: str, plugin: Plugin) -> None:
    """Remember that study files also name a loaded plug-in so."""
    _plugins[reference] = plugin


def find_file(version: str) -> Plugin | None:
    """Return the loaded file of this name and content; None if there is none."""
    files = (plugin for plugin in _plugins.values() if plugin.kind is PluginKind.FILE)
    return next((plugin for plugin in files if plugin.version == version), None)


def replace_plugin(plugin: Plugin, claims: Iterable[Claim]) -> None:
    """Add a plug-in with its components, in place of what came from the same place before.

    Raises
    ------
    InputError
        Another plug-in has the same name, so that their versions could not be told apart.
    """
    others = [other for other in _plugins.values() if other.kind is not PluginKind.SESSION]
    for other in others:
        if other.name == plugin.name and other.place != plugin.place:
            raise InputError(
                f"two plug-ins are named '{plugin.name}': {other.place} and {plugin.place}; "
                "rename one, since the name is part of the version of what it makes"
            )
    for other in [other for other in _plugins.values() if other.place == plugin.place]:
        remove_plugin(other)
    _plugins[plugin.reference] = plugin
    for claim in claims:
        present = _claims.setdefault((claim.family, claim.name), [])
        present[:] = [other for other in present if not _is_same_class(other, claim)]
        present.append(claim)


def remove_plugin(plugin: Plugin) -> None:
    """Forget a plug-in and its components."""
    for reference in [key for key, other in _plugins.items() if other == plugin]:
        del _plugins[reference]
    for key, claims in list(_claims.items()):
        claims[:] = [claim for claim in claims if claim.plugin != plugin]
        if not claims:
            del _claims[key]


def _is_same_class(one: Claim, other: Claim) -> bool:
    return one.original is other.original


def mark_broken(keys: Iterable[tuple[str, str]], message: str) -> None:
    """Let every use of these components fail with a message."""
    _broken.update(dict.fromkeys(keys, message))


def clear_broken(keys: Iterable[tuple[str, str]]) -> None:
    """Let these components be used again."""
    for key in keys:
        _broken.pop(key, None)


def used_plugins() -> dict[Plugin, list[tuple[str, str]]]:
    """Return the plug-ins that this process uses, with their components."""
    used: dict[Plugin, list[tuple[str, str]]] = {plugin: [] for plugin in _plugins.values()}
    claims = [*_claims.values(), *_read_entry_points().values()]
    for claim in (claim for several in claims for claim in several):
        if claim.plugin.kind is not PluginKind.ENTRY_POINT or "original" in vars(claim):
            used.setdefault(claim.plugin, []).append((claim.family, claim.name))
    return used


@cache
def _read_entry_points() -> Mapping[tuple[str, str], tuple[Claim, ...]]:
    """Return the components of installed packages; nothing of them is imported."""
    claims: dict[tuple[str, str], tuple[Claim, ...]] = {}
    installed = entry_points()
    for family, group in GROUPS.items():
        for entry in installed.select(group=group):
            key = (family, entry.name)
            claims[key] = (*claims.get(key, ()), _read_entry_point(family, entry))
    return claims


def forget_entry_points() -> None:
    """Look for installed packages again: one was installed or removed meanwhile."""
    _read_entry_points.cache_clear()


def _read_entry_point(family: str, entry: EntryPoint) -> Claim:
    """Return the claim of an entry point."""
    package, version = "an unnamed package", "0"
    if entry.dist is not None:
        package, version = entry.dist.name, entry.dist.version
        if _is_editable(entry.dist):  # its files change, and its version does not
            mark = "." if "+" in version else "+"
            version += f"{mark}{digest_module(entry.module)[:DIGITS]}"
    place = f"the package {package} {version} ({entry.name} = {entry.value})"
    plugin = Plugin(PluginKind.ENTRY_POINT, package, place, f"{package} {version}")

    def find() -> type[Any]:
        try:
            component = entry.load()
        except Exception as error:  # the code of a package may raise anything
            raise InputError(
                f"the {family} '{entry.name}' of {place} cannot be imported "
                f"({type(error).__name__}: {error}); repair or uninstall the package"
            ) from error
        if not isinstance(component, type):
            raise InputError(f"the {family} '{entry.name}' of {place} is not a class")
        return component

    return Claim(family, entry.name, plugin, find)


def _is_editable(distribution: Distribution) -> bool:
    with suppress(ValueError):
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable"))
    return False


def digest_module(name: str) -> str:
    """Return the sha256 of the Python files of a module's package, which is not imported."""
    spec = find_spec(name.partition(".")[0])
    if spec is None:
        return hashlib.sha256().hexdigest()
    if not spec.submodule_search_locations:
        return hashlib.sha256(Path(str(spec.origin)).read_bytes()).hexdigest()
    state = hashlib.sha256()
    for folder in map(Path, spec.submodule_search_locations):
        for file in sorted(folder.rglob("*.py")):
            state.update(f"{file.relative_to(folder).as_posix()}\0".encode() + file.read_bytes())
    return state.hexdigest()


def digest_class(component: type[Any]) -> str:
    """Return the sha256 of the source text of a class; of its code if there is no text."""
    try:
        return hashlib.sha256(inspect.getsource(component).encode()).hexdigest()
    except (OSError, TypeError):  # typed into a session
        state = hashlib.sha256()
        for name, member in sorted(vars(component).items()):
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            code = getattr(function, "__code__", None)
            if code is not None:
                state.update(name.encode() + _digest_code(code))
            elif isinstance(member, str | int | float | bool | tuple):
                state.update(f"{name}={member!r}".encode())
        return state.hexdigest()


def _digest_code(code: CodeType) -> bytes:
    """Return a digest of a function that does not depend on where it was written."""
    state = hashlib.sha256(code.co_code + repr(code.co_names).encode())
    for value in code.co_consts:
        state.update(_digest_code(value) if isinstance(value, CodeType) else repr(value).encode())
    return state.digest()
