"""The registries of components that a study file can name.

There are five families (`FAMILIES`). Every public file in the folder of a family's package
(``concat.py``) is a component of that name; it defines the class of the same name in CamelCase
(``Concat``), and the keyword-only parameters of the class's ``__init__`` are the options of the
component. Names and options are read from the source text, so a study file is checked at once
although torch takes seconds to import.

Further components come from outside (`study.plugins.catalog`): from installed packages with an
entry point, from the plug-ins that a study file names, and from `register`. A name that two places
claim is an error that names both.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from study.errors import InputError
from study.plugins.catalog import (
    DIGITS,
    Claim,
    Plugin,
    PluginKind,
    claimed_names,
    digest_class,
    find_claims,
    remove_plugin,
    replace_plugin,
)
from study.plugins.parameters import Parameter, format_missing_class, read_parameters


class Family(NamedTuple):
    """One kind of component.

    Attributes
    ----------
    package : str
        Package whose folder has a file for every component.
    unknown : str
        Message for a name that is not in the family; ``{}`` is replaced by the name.
    members : tuple of str
        Members by which a class from outside is recognized.
    arguments : tuple of str
        First arguments of its ``__init__``.
    """

    package: str
    unknown: str
    members: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    def fits(self, component: type[Any]) -> bool:
        """Whether a class has all members of the family."""
        return bool(self.members) and not self.missing(component)

    def missing(self, component: type[Any]) -> list[str]:
        """Return the members and arguments of the family that a class lacks."""
        absent = [member for member in self.members if not hasattr(component, member)]
        first = tuple(inspect.signature(component).parameters)[: len(self.arguments)]
        return absent if first == self.arguments else [*absent, f"__init__{self.arguments}"]

    @property
    def needs(self) -> str:
        """The members and arguments as text."""
        arguments = [f"__init__({', '.join(self.arguments)})"] if self.arguments else []
        return ", ".join([*arguments, *self.members])


FAMILIES: dict[str, Family] = {
    "modality": Family(
        "modalities",
        "unknown modality '{}'",
        ("letter", "trainable", "fitted", "version", "featurize", "encoder"),
    ),
    "operator": Family(
        "fusion.operators",
        "unknown fusion operator '{}'",
        ("forward",),
        ("dims", "n_labels", "head"),
    ),
    "partition": Family(
        "fusion.partitions",
        "unknown label partition '{}'",
        ("per_batch", "needs_inner_scores", "build"),
    ),
    "source": Family("study.data.sources", "unknown source '{}'", ("rated", "files", "read")),
    "objective": Family(
        "modalities.pretraining",
        "unknown pretraining objective '{}'",
        ("modalities", "named", "version", "prepare", "model", "collate"),
    ),
}
"""The families by the key of a component in a study file, for example ``{operator: concat}``."""


class Registry:
    """The components of one family, by name.

    Parameters
    ----------
    family : str
        Key of `FAMILIES`.

    Raises
    ------
    InputError
        The family is unknown, or its package is missing.
    """

    def __init__(self, family: str) -> None:
        check_family(family)
        self._family = family
        self._package, self._unknown = FAMILIES[family][:2]
        self._folder = _find_folder(self._package)

    def names(self) -> tuple[str, ...]:
        """Return the names of all components, sorted."""
        return tuple(sorted(_list_names(self._folder) | claimed_names(self._family)))

    def check_claims(self, name: str) -> None:
        """Raise InputError if two places claim a name; the message names both."""
        self._find_claim(name)

    def _find_claim(self, name: str) -> Claim | None:
        """Return who has a component from outside; None if it is one of ours.

        Raises
        ------
        InputError
            The name is unknown, or two places claim it.
        """
        claims = find_claims(self._family, name)
        own = name in _list_names(self._folder)
        if not claims and not own:
            raise InputError(self._format_unknown(name))
        places = [f"{self._package}/{name}.py of this program"] if own else []
        places += map(str, claims)
        if len(places) > 1:
            raise InputError(
                f"the {self._family} '{name}' is claimed by {' and by '.join(places)}; rename one, "
                "or uninstall its package"
            )
        return claims[0] if claims else None

    def version(self, name: str) -> str:
        """Return the name and version of the plug-in of a component; '' if it is one of ours."""
        claim = self._find_claim(name)
        return claim.plugin.version if claim else ""

    def parameters(self, name: str) -> Mapping[str, Parameter]:
        """Return the options of a component by name, in the order of its class.

        Raises
        ------
        InputError
            The name is unknown, or the file of the component lacks its class or literal options.
        """
        claim = self._find_claim(name)
        if claim is not None:
            return claim.parameters
        return read_parameters(self._folder / f"{name}.py", to_class_name(name))

    def check(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Return a message for every mistake in the name and the options of a component."""
        try:
            parameters = self.parameters(name)
        except InputError as error:
            return [str(error)]
        mistakes = []
        for key, value in options.items():
            try:
                _find_parameter(key, parameters).parse(value)
            except InputError as error:
                mistakes.append(f"{name}: {error}")
        return mistakes

    def complete(self, name: str, options: Mapping[str, object]) -> dict[str, object]:
        """Return all options of a component: the values of `options`, else the defaults.

        Values are converted to the types of the options, so that two ways of writing the same
        options (a default left out, 10 for 10.0) give the same result.

        Raises
        ------
        InputError
            The name or the options have mistakes; the message lists them all.
        """
        mistakes = self.check(name, options)
        if mistakes:
            raise InputError("; ".join(mistakes))
        return {
            key: parameter.parse(options[key]) if key in options else parameter.default
            for key, parameter in self.parameters(name).items()
        }

    def load(self, name: str) -> type[Any]:
        """Import a component and return its class.

        The ``version`` of a class from outside names its plug-in too, so that results of a changed
        plug-in are never taken for those of the old one.

        Raises
        ------
        InputError
            The name is unknown or claimed twice, or there is no such class.
        """
        claim = self._find_claim(name)
        if claim is not None:
            return claim.component
        component = getattr(import_module(f"{self._package}.{name}"), to_class_name(name), None)
        if not isinstance(component, type):
            raise InputError(format_missing_class(self._folder / f"{name}.py", to_class_name(name)))
        return component

    def _format_unknown(self, name: str) -> str:
        return f"{self._unknown.format(name)}{_format_hint(name, self.names())}"


_NAME = re.compile(r"[a-z][a-z0-9_]*")
_registered: ContextVar[dict[tuple[str, str], type[Any]] | None] = ContextVar(
    "registered", default=None
)


def register(family: str, name: str, component: type[Any]) -> None:
    """Add a component of this session, for example of a notebook.

    Registering the class of this name again (a cell that is run again) replaces it. Workers of Ray
    are other processes and lack the class: a launch that uses it runs without Ray. A file that a
    study file names under ``plugins`` can call this too; its components reach the workers.

    Parameters
    ----------
    family : str
        Key of `FAMILIES`: modality, operator, partition, source or objective.
    name : str
        Name in study files.
    component : type
        Class with the members of the family; its keyword-only parameters are the options.

    Raises
    ------
    InputError
        The class lacks a member of its family, an option cannot be written in a study file, or
        another place claims the name.
    """
    check_family(family)
    place = f"the class {component.__module__}.{component.__qualname__}"
    if not _NAME.fullmatch(name):
        raise InputError(f"{place}: its name must be like 'my_{family}', not '{name}'")
    missing = FAMILIES[family].missing(component)
    if missing:
        raise InputError(f"{place} is no {family}: it lacks {', '.join(missing)}")
    file = _registered.get()
    if file is not None:
        file[family, name] = component
        return
    registry, claims = Registry(family), find_claims(family, name)
    if any(claim.original is component for claim in claims):
        return
    place = f"{place}, registered as '{name}' in this process"
    plugin = Plugin(
        PluginKind.SESSION,
        place,
        place,
        f"{family}-{name} {digest_class(component)[:DIGITS]}",
    )
    claim = Claim(family, name, plugin, lambda: component)
    claim.parameters  # noqa: B018 (raises if an option cannot be set in a study file)
    replace_plugin(plugin, [claim])
    try:
        registry.check_claims(name)
    except InputError:
        remove_plugin(plugin)
        raise


@contextmanager
def collect_registrations() -> Iterator[dict[tuple[str, str], type[Any]]]:
    """Collect what `register` adds in a block: the components of the file that runs there."""
    components: dict[tuple[str, str], type[Any]] = {}
    token = _registered.set(components)
    try:
        yield components
    finally:
        _registered.reset(token)


def check_family(family: str) -> None:
    """Raise InputError for an unknown family."""
    if family not in FAMILIES:
        raise InputError(f"unknown family '{family}'{_format_hint(family, tuple(FAMILIES))}")


def to_class_name(name: str) -> str:
    """Return the class name of a component: ``random_per_batch`` -> ``RandomPerBatch``."""
    return "".join(part.capitalize() for part in name.split("_"))


def _find_folder(package: str) -> Path:
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # a parent package is missing
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"there is no package '{package}' with components")
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def _list_names(folder: Path) -> frozenset[str]:
    """Return the names of our own components; cached, because every trial asks for some."""
    return frozenset(file.stem for file in folder.glob("[!_]*.py"))


def _format_hint(name: str, allowed: tuple[str, ...]) -> str:
    close = get_close_matches(str(name), allowed, n=2)  # a key in YAML need not be a string
    question = f"; did you mean {' or '.join(map(repr, close))}?" if close else ";"
    return f"{question} allowed: {', '.join(allowed) or 'none'}"


def _find_parameter(key: str, parameters: Mapping[str, Parameter]) -> Parameter:
    if key not in parameters:
        raise InputError(f"has no option '{key}'{_format_hint(key, tuple(parameters))}")
    return parameters[key]
