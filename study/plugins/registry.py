"""The registry of what a study file can name; reading it imports nothing heavy.

There are five families (`FAMILIES`). A public file name in the folder of a family's package
(``concat.py``) is a word of the family; the class of the same name in
CamelCase (``Concat``) is what it stands for; the keyword-only parameters of that class's
``__init__`` are the options of the word. Words and options are read from the source text, so
that a study file can be checked at once although torch takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from study.errors import InputError
from study.plugins.parameters import Parameter, lacks_class, read_parameters


class Family(NamedTuple):
    """One kind of component that a study file names.

    Attributes
    ----------
    package : str
        Package whose folder holds a file for each word.
    unknown : str
        How a name that is no word of the family is reported; ``{}`` stands for the name.
    """

    package: str
    unknown: str


FAMILIES: dict[str, Family] = {
    "modality": Family("modalities", "'{}' is no word of modalities"),
    "operator": Family("fusion.operators", "'{}' is no word of fusion"),
    "partition": Family("fusion.partitions", "'{}' is no word of fusion.partitions"),
    "source": Family("study.data.sources", "unknown source '{}'"),
    "objective": Family("modalities.pretraining", "'{}' is no word of modalities.pretraining"),
}
"""The families by the key that names a word in a file, for example ``{operator: concat}``."""


class Registry:
    """The words of one family.

    Parameters
    ----------
    family : str
        Key of `FAMILIES`.

    Raises
    ------
    InputError
        There is no such family, or its package is missing.
    """

    def __init__(self, family: str) -> None:
        if family not in FAMILIES:
            raise InputError(f"there is no family '{family}'{_hint(family, tuple(FAMILIES))}")
        self._package, self._unknown = FAMILIES[family]
        self._folder = _folder(self._package)

    def words(self) -> tuple[str, ...]:
        """Return the public file names of the folder, sorted."""
        return tuple(sorted(file.stem for file in self._folder.glob("[!_]*.py")))

    def options(self, word: str) -> Mapping[str, Parameter]:
        """Return the options of a word by name, in the order of its class.

        Raises
        ------
        InputError
            The word is unknown, or its file breaks the rules of the folder.
        """
        if word not in self.words():
            raise InputError(self._no_word(word))
        return read_parameters(self._folder / f"{word}.py", to_class_name(word))

    def check(self, word: str, options: Mapping[str, object]) -> list[str]:
        """Return every mistake in a word and its options as a sentence; none: an empty list."""
        if word not in self.words():
            return [self._no_word(word)]
        known = self.options(word)
        mistakes = []
        for name, value in options.items():
            try:
                _known(name, known).parse(value)
            except InputError as error:
                mistakes.append(f"{word}: {error}")
        return mistakes

    def complete(self, word: str, options: Mapping[str, object]) -> dict[str, object]:
        """Return all options of a word: the given values in their own types, else the defaults.

        Two ways of writing the same thing (a default left out, 10 for 10.0) become one.

        Raises
        ------
        InputError
            `check` finds a mistake; the message has them all.
        """
        mistakes = self.check(word, options)
        if mistakes:
            raise InputError("; ".join(mistakes))
        return {
            name: option.parse(options[name]) if name in options else option.default
            for name, option in self.options(word).items()
        }

    def load(self, word: str) -> type[Any]:
        """Import the file of a word and return its class.

        Raises
        ------
        InputError
            The word is unknown, or its file lacks the class.
        """
        if word not in self.words():
            raise InputError(self._no_word(word))
        found = getattr(import_module(f"{self._package}.{word}"), to_class_name(word), None)
        if not isinstance(found, type):
            raise InputError(lacks_class(self._folder / f"{word}.py", to_class_name(word)))
        return found

    def _no_word(self, word: str) -> str:
        return f"{self._unknown.format(word)}{_hint(word, self.words())}"


def to_class_name(word: str) -> str:
    """Return the class that a word stands for: ``random_per_batch`` -> ``RandomPerBatch``."""
    return "".join(part.capitalize() for part in word.split("_"))


def _folder(package: str) -> Path:
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # a parent package is missing
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"there is no package '{package}' to take words from")
    return Path(next(iter(spec.submodule_search_locations)))


def _hint(name: str, allowed: tuple[str, ...]) -> str:
    near = get_close_matches(str(name), allowed, n=2)  # YAML has keys that are no text
    question = f"; did you mean {' or '.join(repr(word) for word in near)}?" if near else ";"
    return f"{question} allowed: {', '.join(allowed) or 'none'}"


def _known(name: str, options: Mapping[str, Parameter]) -> Parameter:
    if name not in options:
        raise InputError(f"has no option '{name}'{_hint(name, tuple(options))}")
    return options[name]
