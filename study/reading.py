"""Reading a study file: YAML, overrides, environment variables, and all mistakes in one message."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from study.errors import InputError
from study.mistakes import mistakes_of
from study.section import FromFile
from study.spec import StudySpec
from study.yaml_text import parse_yaml, read_yaml

SHOWN, LONGEST = 50, 1_000
"""Mistakes that a message says at most, and characters of each: a file is corrected in rounds."""
MOST_VALUES, DEEPEST = 100_000, 40
"""Values of a file, its anchors written out, and levels they are nested: a few lines of anchors
can stand for billions of values, or for one that contains itself.
"""
LARGEST = 2**53
"""Largest whole number that stays exact where a plan computes with floats."""
VARIABLE = re.compile(r"\$\{(\w+)\}")
"""A reference to an environment variable, ``${NAME}``."""
PRESETS = Path(str(files("study"))) / "presets"
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_Model = TypeVar("_Model", bound=BaseModel)


def read_study(source: str, overrides: Sequence[str] = ()) -> StudySpec:
    """Read and check a study file or a shipped preset.

    Parameters
    ----------
    source : str
        Path of a YAML file, or the name of a preset.
    overrides : sequence of str
        ``place=value`` with the place as in the messages (``training.epochs=20``); the value is
        YAML.

    Raises
    ------
    InputError
        Every mistake of the file, each with its place and what is allowed.
    """
    path = find_file(source, PRESETS, "a study file")
    return check_study(read_sections(path, overrides, "a study file"), str(path))


def study_name(source: str) -> str:
    """Return a study's name: given as it is, or read from its file."""
    return read_study(source).name if Path(source).is_file() else source


def read_sections(path: Path, overrides: Sequence[str], kind: str) -> dict[str, Any]:
    """Read the sections of a YAML file, with these places overridden; nothing is checked yet.

    Raises
    ------
    InputError
        The file is not YAML or no mapping, or an override has no place in it.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path}: {kind} is a mapping of sections, not {type(raw).__name__}")
    for override in overrides:
        _override(raw, override)
    return raw


def check_study(raw: Mapping[str, Any], place: str) -> StudySpec:
    """Check the content of a study file; `place` names it in the message."""
    section = raw.get("modalities", {})
    names = frozenset(map(str, section)) if isinstance(section, Mapping) else None
    return check_file(StudySpec, raw, place, FromFile(names))


def check_file(
    model: type[_Model], raw: Mapping[str, Any], place: str, context: FromFile
) -> _Model:
    """Check the content of a file against its model, all mistakes in one message.

    Raises
    ------
    InputError
        Every mistake with its place in the file and what is allowed.
    """
    expansion = _Expansion(place)
    expanded, mistakes = expansion.expand(raw), expansion.mistakes
    try:
        spec = model.model_validate(expanded, context=context)
    except ValidationError as error:
        mistakes += mistakes_of(error, expanded, model)
    if mistakes:
        raise _all_of(mistakes, place)
    return spec


def _all_of(mistakes: Sequence[str], place: str) -> InputError:
    """Return one message of all mistakes; of very many, or very long ones, the beginning."""
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    shown = [text if len(text) <= LONGEST else f"{text[:LONGEST]} ..." for text in mistakes]
    more = len(mistakes) - SHOWN
    said = [*shown[:SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return InputError("\n  ".join([f"{place}: {count}; nothing was run", *said]))


def preset_names(folder: Path = PRESETS) -> list[str]:
    """Return the names of the files that ship in a folder of presets."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_preset_note(name: str, folder: Path = PRESETS) -> str:
    """Return the description of a shipped file."""
    raw = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return str(raw.get("description", ""))


def find_file(source: str, presets: Path, kind: str) -> Path:
    """Return the file at this path, or the preset of this name.

    Raises
    ------
    InputError
        It is neither; the message lists the presets.
    """
    for path in (Path(source), presets / f"{source}.yaml"):
        try:
            if path.is_file():
                return path
        except OSError:  # no name of a file, for example too long
            continue
    names = ", ".join(preset_names(presets))
    raise InputError(f"'{source}' is neither {kind} nor a preset; presets: {names}")


def _override(raw: dict[str, Any], override: str) -> None:
    """Set one value by its place, making sections on the way."""
    place, equals, text = override.partition("=")
    keys = place.strip().split(".")
    if not equals or not all(keys):
        raise InputError(
            f"--set takes place=value, for example training.epochs=20, not '{override}'"
        )
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not YAML ({error})") from error
    section: Any = raw
    for key in keys[:-1]:
        at = _position(section, key, override)
        section = section[at] if isinstance(section, list) else section.setdefault(at, {})
        if not isinstance(section, dict | list):
            raise InputError(f"--set {override}: '{key}' is a value, not a section")
    section[_position(section, keys[-1], override)] = value


def _position(section: dict[str, Any] | list[Any], key: str, override: str) -> Any:  # noqa: ANN401 (str or int)
    """Return the key in a mapping, or the checked number of an item of a list."""
    if isinstance(section, dict):
        return key
    if key not in map(str, range(len(section))):
        allowed = f"0 to {len(section) - 1}" if section else "none, it is empty"
        raise InputError(
            f"--set {override}: '{key}' stands for an item of a list; allowed: {allowed}"
        )
    return int(key)


class _Expansion:
    """The one pass over the values of a file before its schema is checked.

    It replaces ``${NAME}`` by the environment, bounds what anchors stand for, and gathers in
    `mistakes` what no schema could look at.
    """

    def __init__(self, file: str) -> None:
        self.mistakes: list[str] = []
        self._file, self._values = file, 0

    def expand(self, value: Any, place: str = "", level: int = 0) -> Any:  # noqa: ANN401 (any YAML value)
        """Return a value with the environment in it, so that its schema can be checked.

        Raises
        ------
        InputError
            More than `MOST_VALUES` values or `DEEPEST` levels, or a set.
        """
        self._bound(value, level)
        if isinstance(value, dict):
            at, key_at = (f"{place}.", place) if place else ("", "the file")
            return {
                self._text(key, f"{key_at}: a key"): self.expand(item, f"{at}{key}", level + 1)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.expand(item, f"{place}.{i}", level + 1) for i, item in enumerate(value)]
        if isinstance(value, int) and abs(value) > LARGEST:
            self.mistakes.append(
                f"{place}: the value is beyond {LARGEST:,}, the largest whole number that stays "
                "exact"
            )
            return LARGEST  # the schema is still checked, for the other mistakes
        return self._text(self._filled(value, place), f"{place}: the value")

    def _bound(self, value: object, level: int) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            raise InputError(
                f"{self._file}: with its anchors written out it has more than {MOST_VALUES:,} "
                "values; repeat less"
            )
        if level > DEEPEST:
            raise InputError(f"{self._file}: it is nested more than {DEEPEST} levels deep")
        if isinstance(value, set | tuple):  # a schema would take them for a list
            raise InputError(
                f"{self._file}: '!!set', '!!omap' and '!!pairs' are neither list nor mapping"
            )

    def _filled(self, value: Any, place: str) -> Any:  # noqa: ANN401 (any YAML value)
        """Return a text with its variables replaced; an unset one is a mistake."""
        if not isinstance(value, str):
            return value
        self.mistakes += [
            f"{place}: the environment variable {name} is not set (in '{value}')"
            for name in VARIABLE.findall(value)
            if name not in os.environ
        ]
        return VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), value)

    def _text(self, value: Any, what: str) -> Any:  # noqa: ANN401 (any YAML value)
        """Return a text without what no path can hold; pydantic itself fails on surrogates."""
        if not isinstance(value, str):
            return value
        odd = sorted(set(_NO_TEXT.findall(value)))
        if odd:
            self.mistakes.append(
                f"{what} must be text, without control characters or halves of characters: "
                f"{', '.join(map(ascii, odd))}"
            )
        return _NO_TEXT.sub("?", value)
