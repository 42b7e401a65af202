"""The registries of components that a study file can name.

There are five families (`FAMILIES`). Every public file in the folder of a family's package
(``concat.py``) is a component of that name; it defines the class of the same name in CamelCase
(``Concat``), and the keyword-only parameters of the class's ``__init__`` are the options of the
component. Names and options are read from the source text, so a study file is checked at once
although torch takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from study.errors import InputError
from study.plugins.parameters import Parameter, format_missing_class, read_parameters


class Family(NamedTuple):
    """One kind of component.

    Attributes
    ----------
    package : str
        Package whose folder has a file for every component.
    unknown : str
        Message for a name that is not in the family; ``{}`` is replaced by the name.
    """

    package: str
    unknown: str


FAMILIES: dict[str, Family] = {
    "modality": Family("modalities", "unknown modality '{}'"),
    "operator": Family("fusion.operators", "unknown fusion operator '{}'"),
    "partition": Family("fusion.partitions", "unknown label partition '{}'"),
    "source": Family("study.data.sources", "unknown source '{}'"),
    "objective": Family("modalities.pretraining", "unknown pretraining objective '{}'"),
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
        if family not in FAMILIES:
            raise InputError(f"unknown family '{family}'{_format_hint(family, tuple(FAMILIES))}")
        self._package, self._unknown = FAMILIES[family]
        self._folder = _find_folder(self._package)

    def names(self) -> tuple[str, ...]:
        """Return the names of all components, sorted."""
        return tuple(sorted(file.stem for file in self._folder.glob("[!_]*.py")))

    def parameters(self, name: str) -> Mapping[str, Parameter]:
        """Return the options of a component by name, in the order of its class.

        Raises
        ------
        InputError
            The name is unknown, or the file of the component lacks its class or literal options.
        """
        if name not in self.names():
            raise InputError(self._format_unknown(name))
        return read_parameters(self._folder / f"{name}.py", to_class_name(name))

    def check(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Return a message for every mistake in the name and the options of a component."""
        if name not in self.names():
            return [self._format_unknown(name)]
        parameters = self.parameters(name)
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
        """Import the file of a component and return its class.

        Raises
        ------
        InputError
            The name is unknown, or the file lacks the class.
        """
        if name not in self.names():
            raise InputError(self._format_unknown(name))
        component = getattr(import_module(f"{self._package}.{name}"), to_class_name(name), None)
        if not isinstance(component, type):
            raise InputError(format_missing_class(self._folder / f"{name}.py", to_class_name(name)))
        return component

    def _format_unknown(self, name: str) -> str:
        return f"{self._unknown.format(name)}{_format_hint(name, self.names())}"


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


def _format_hint(name: str, allowed: tuple[str, ...]) -> str:
    close = get_close_matches(str(name), allowed, n=2)  # a key in YAML need not be a string
    question = f"; did you mean {' or '.join(map(repr, close))}?" if close else ";"
    return f"{question} allowed: {', '.join(allowed) or 'none'}"


def _find_parameter(key: str, parameters: Mapping[str, Parameter]) -> Parameter:
    if key not in parameters:
        raise InputError(f"has no option '{key}'{_format_hint(key, tuple(parameters))}")
    return parameters[key]
