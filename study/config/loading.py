"""From a YAML file to a checked study: overrides, variables, and every mistake at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from study.config.base import ValidationContext
from study.config.study import StudySpec
from study.errors import InputError

_YAML_TYPE = {"tuple": "list", "dictionary": "mapping"}
_LONGEST_MESSAGE = 200
"""Characters of a given value that a message repeats."""
_PYTHON_TYPE = re.compile(r"valid (tuple|dictionary)(?: or instance of \w+)?")


def format_mistakes(error: ValidationError, raw: object, model: type[BaseModel]) -> list[str]:
    """Return every mistake in the content of a file of this model as ``place: rule, value``."""
    return [_readable(detail, raw, model) for detail in _causes(error)]


def _causes(error: ValidationError) -> list[Mapping[str, Any]]:
    """Mistakes of the file: a list that is empty only because its items are wrong is none."""
    details: list[Mapping[str, Any]] = list(error.errors())
    places = [tuple(detail["loc"]) for detail in details]
    return [
        detail
        for detail, place in zip(details, places, strict=True)
        if detail["type"] != "too_short"
        or not any(len(o) > len(place) and o[: len(place)] == place for o in places)
    ]


def _readable(detail: Mapping[str, Any], raw: object, model: type[BaseModel]) -> str:
    """One mistake as ``place: rule, value``."""
    keys = _keys_of_the_file(detail["loc"], raw)
    place = ".".join(str(key) for key in keys) or "the file"
    if detail["type"] == "extra_forbidden":
        allowed = _allowed(model, keys[:-1])
        return f"{place}: unknown key;{_near(str(keys[-1]), allowed)} allowed: {', '.join(allowed)}"
    if detail["type"] == "missing":
        return f"{place}: is missing"
    if detail["type"] == "too_short":
        return f"{place}: must name at least one, not {detail['input']!r}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    message = _PYTHON_TYPE.sub(lambda match: _YAML_TYPE[match[1]], message)
    given = detail["input"]
    shown = "" if detail["type"] == "value_error" or isinstance(given, dict) else _not(given)
    return f"{place}: {message[0].lower()}{message[1:]}{shown}"


def _not(given: object) -> str:
    """Show what was given, its beginning only where it is long."""
    text = repr(given)
    return (
        f", not {text}" if len(text) <= _LONGEST_MESSAGE else f", not {text[:_LONGEST_MESSAGE]} ..."
    )


def _keys_of_the_file(loc: Iterable[str | int], raw: object) -> list[str | int]:
    """Drop the parts of pydantic's place that name members of a union: no keys of the file."""
    keys: list[str | int] = []
    for key in loc:
        if isinstance(raw, Mapping) and (key in raw or str(key).isidentifier()):
            raw = raw.get(key)
        elif isinstance(raw, list) and isinstance(key, int) and key < len(raw):
            raw = raw[key]
        else:
            continue
        keys.append(key)
    return keys


def _near(word: str, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(allowed), n=1)
    return f" did you mean '{close[0]}'?" if close else ""


def _allowed(model: type[BaseModel], keys: Sequence[str | int]) -> list[str]:
    """Keys of the section at this place, found along the annotations."""
    for key in keys:
        if isinstance(key, str) and key in model.model_fields:
            model = _section(model.model_fields[key].annotation) or model
    return list(model.model_fields)


def _section(annotation: object) -> type[BaseModel] | None:
    """Return the model inside an annotation such as ``tuple[Grid, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, list, dict, Union, UnionType, Mapping, None):
        found = (_section(each) for each in get_args(annotation))
        return next((model for model in found if model), None)
    return next((m for m in map(_section, get_args(annotation)) if m), None)


MOST_BYTES = 2_000_000
"""Largest file: a study of a thousand arms written one by one has a tenth of it."""


class _Loader(yaml.SafeLoader):
    """YAML as plain values, where a key stands once in a mapping."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 (as in PyYAML)
        """Compose a mapping; a key that stands twice would silently hide its first value.

        This is before merge keys (``<<``) are replaced: what a merge brings may be written again.
        """
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                said = f"the key '{key.value}' stands twice"
                raise yaml.composer.ComposerError(None, None, said, key.start_mark)
            seen.add(name)
        return node


def read_yaml(path: Path) -> Any:  # noqa: ANN401 (any YAML value)
    """Read a file of YAML.

    Raises
    ------
    InputError
        It cannot be read, is too large, or is not YAML.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not YAML: it must be UTF-8 text ({error})") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path} has {len(data):,} bytes; such a file has {MOST_BYTES:,} at most")
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from error


def parse_yaml(text: str) -> Any:  # noqa: ANN401 (any YAML value)
    """Parse a text; `yaml.YAMLError` where it is none."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a safe loader)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
        # PyYAML lets the error of a constructor through: a date in month 99, `!!int x`.
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error


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
    return check_file(StudySpec, raw, place, ValidationContext(names))


def check_file(
    model: type[_Model], raw: Mapping[str, Any], place: str, context: ValidationContext
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
        mistakes += format_mistakes(error, expanded, model)
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
