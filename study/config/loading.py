"""Reading of study files: overrides, environment variables, and all mistakes in one message."""

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

_YAML_TYPES = {"tuple": "list", "dictionary": "mapping"}
_MAX_VALUE_LENGTH = 200
"""Number of characters of a wrong value that a message quotes."""
_PYTHON_TYPE = re.compile(r"valid (tuple|dictionary)(?: or instance of \w+)?")


def format_mistakes(error: ValidationError, raw: object, model: type[BaseModel]) -> list[str]:
    """Return every mistake in a file of this model as ``place: rule, value``."""
    return [_format_mistake(detail, raw, model) for detail in _select_causes(error)]


def _select_causes(error: ValidationError) -> list[Mapping[str, Any]]:
    """Return pydantic's errors without those that follow from others.

    A list whose items are all wrong is also reported as too short.
    """
    details: list[Mapping[str, Any]] = list(error.errors())
    places = [tuple(detail["loc"]) for detail in details]
    return [
        detail
        for detail, place in zip(details, places, strict=True)
        if detail["type"] != "too_short"
        or not any(len(o) > len(place) and o[: len(place)] == place for o in places)
    ]


def _format_mistake(detail: Mapping[str, Any], raw: object, model: type[BaseModel]) -> str:
    """Return one mistake as ``place: rule, value``."""
    keys = _to_file_keys(detail["loc"], raw)
    place = ".".join(str(key) for key in keys) or "the file"
    if detail["type"] == "extra_forbidden":
        allowed = _list_allowed_keys(model, keys[:-1])
        suggestion = _suggest_key(str(keys[-1]), allowed)
        return f"{place}: unknown key;{suggestion} allowed: {', '.join(allowed)}"
    if detail["type"] == "missing":
        return f"{place}: is missing"
    if detail["type"] == "too_short":
        return f"{place}: must name at least one, not {detail['input']!r}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    message = _PYTHON_TYPE.sub(lambda match: _YAML_TYPES[match[1]], message)
    value = detail["input"]
    quoted = not (detail["type"] == "value_error" or isinstance(value, dict))
    ending = _format_value(value) if quoted else ""
    return f"{place}: {message[0].lower()}{message[1:]}{ending}"


def _format_value(value: object) -> str:
    """Return the end of a message that quotes a value, cut if it is long."""
    text = repr(value)
    return (
        f", not {text}"
        if len(text) <= _MAX_VALUE_LENGTH
        else f", not {text[:_MAX_VALUE_LENGTH]} ..."
    )


def _to_file_keys(loc: Iterable[str | int], raw: object) -> list[str | int]:
    """Return the keys of pydantic's location that are in the file, without members of unions."""
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


def _suggest_key(key: str, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(allowed), n=1)
    return f" did you mean '{close[0]}'?" if close else ""


def _list_allowed_keys(model: type[BaseModel], keys: Sequence[str | int]) -> list[str]:
    """Return the keys that are allowed in the section at this place."""
    for key in keys:
        if isinstance(key, str) and key in model.model_fields:
            model = _find_model(model.model_fields[key].annotation) or model
    return list(model.model_fields)


def _find_model(annotation: object) -> type[BaseModel] | None:
    """Return the model inside an annotation such as ``tuple[GridBlock, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, list, dict, Union, UnionType, Mapping, None):
        models = (_find_model(argument) for argument in get_args(annotation))
        return next((model for model in models if model), None)
    return next((m for m in map(_find_model, get_args(annotation)) if m), None)


MAX_BYTES = 2_000_000
"""Largest file size: a study that lists a thousand arms has a tenth of it."""


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that rejects duplicate keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 (as in PyYAML)
        """Compose a mapping and reject duplicate keys, which would hide the first value.

        Merge keys (``<<``) are not replaced yet, so a key of a merged mapping can be overridden.
        """
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                message = f"the key '{key.value}' appears twice"
                raise yaml.composer.ComposerError(None, None, message, key.start_mark)
            seen.add(name)
        return node


def read_yaml(path: Path) -> Any:  # noqa: ANN401 (any YAML value)
    """Read a YAML file.

    Raises
    ------
    InputError
        The file cannot be read, is too large, or is not YAML.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not YAML: it must be UTF-8 text ({error})") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} has {len(data):,} bytes; at most {MAX_BYTES:,} are allowed")
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from error


def parse_yaml(text: str) -> Any:  # noqa: ANN401 (any YAML value)
    """Parse YAML text; raise `yaml.YAMLError` if it is not YAML."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a safe loader)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
        # PyYAML does not wrap the errors of its constructors: a date in month 99, `!!int x`.
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error


MAX_MISTAKES, MAX_LENGTH = 50, 1_000
"""Largest number of mistakes in one message, and of characters of each."""
MAX_VALUES, MAX_DEPTH = 100_000, 40
"""Largest number of values of a file with its anchors expanded, and of nested levels.

A few lines of anchors can expand to billions of values, or to a value that contains itself.
"""
MAX_INTEGER = 2**53
"""Largest integer that is exact as a float, which plans compute with."""
VARIABLE = re.compile(r"\$\{(\w+)\}")
"""A reference to an environment variable, ``${NAME}``."""
PRESETS = Path(str(files("study"))) / "presets"
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_Model = TypeVar("_Model", bound=BaseModel)


def read_study(source: str, overrides: Sequence[str] = ()) -> StudySpec:
    """Read and check a study file or a shipped preset.

    Parameters
    ----------
    source : str
        Path of a YAML file, or the name of a preset.
    overrides : sequence of str
        ``key=value`` with the dotted key as in error messages (``training.epochs=20``); the value
        is YAML.

    Raises
    ------
    InputError
        The file has mistakes; the message lists them all, with place and allowed values.
    """
    path = find_file(source, PRESETS, "a study file")
    sections = read_sections(path, overrides, "a study file")
    return check_study(sections, str(path), path.parent)


def study_name(source: str) -> str:
    """Return the name of a study: the argument itself, or the name in a study file."""
    return read_study(source).name if Path(source).is_file() else source


def read_sections(path: Path, overrides: Sequence[str], kind: str) -> dict[str, Any]:
    """Read the sections of a YAML file and apply overrides; nothing is checked yet.

    Raises
    ------
    InputError
        The file is not YAML or not a mapping, or the key of an override does not fit.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path}: {kind} is a mapping of sections, not {type(raw).__name__}")
    for override in overrides:
        apply_override(raw, override)
    return raw


def check_study(raw: Mapping[str, Any], place: str, folder: Path | None = None) -> StudySpec:
    """Check the content of a study file.

    Parameters
    ----------
    raw : mapping
    place : str
        Name of the file in error messages.
    folder : Path, optional
        Folder of the file, from which paths of plug-ins start. Default: the working folder.
    """
    section = raw.get("modalities", {})
    names = frozenset(map(str, section)) if isinstance(section, Mapping) else None
    return check_file(StudySpec, raw, place, ValidationContext(names, folder))


def check_file(
    model: type[_Model], raw: Mapping[str, Any], place: str, context: ValidationContext
) -> _Model:
    """Check the content of a file against its model.

    Raises
    ------
    InputError
        The file has mistakes; the message lists them all, with place and allowed values.
    """
    expansion = _Expansion(place)
    expanded, mistakes = expansion.expand(raw), expansion.mistakes
    try:
        spec = model.model_validate(expanded, context=context)
    except ValidationError as error:
        mistakes += format_mistakes(error, expanded, model)
    if mistakes:
        raise _join_mistakes(mistakes, place)
    return spec


def _join_mistakes(mistakes: Sequence[str], place: str) -> InputError:
    """Return one error with all mistakes; very many or very long ones are cut."""
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    lines = [text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]} ..." for text in mistakes]
    more = len(mistakes) - MAX_MISTAKES
    lines = [*lines[:MAX_MISTAKES], *([f"and {more} more"] if more > 0 else [])]
    return InputError("\n  ".join([f"{place}: {count}; nothing was run", *lines]))


def preset_names(folder: Path = PRESETS) -> list[str]:
    """Return the names of the presets in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_preset_note(name: str, folder: Path = PRESETS) -> str:
    """Return the description of a preset."""
    raw = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return str(raw.get("description", ""))


def find_file(source: str, presets: Path, kind: str) -> Path:
    """Return the file at this path, or the preset of this name.

    Raises
    ------
    InputError
        The argument is neither; the message lists the presets.
    """
    for path in (Path(source), presets / f"{source}.yaml"):
        try:
            if path.is_file():
                return path
        except OSError:  # not a possible file name, for example too long
            continue
    names = ", ".join(preset_names(presets))
    raise InputError(f"'{source}' is neither {kind} nor a preset; presets: {names}")


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set one value of a file, creating missing sections."""
    dotted_key, equals, text = override.partition("=")
    keys = dotted_key.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set takes key=value, for example training.epochs=20, not '{override}'")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not YAML ({error})") from error
    section: Any = raw
    for key in keys[:-1]:
        item = _to_key(section, key, override)
        section = section[item] if isinstance(section, list) else section.setdefault(item, {})
        if not isinstance(section, dict | list):
            raise InputError(f"--set {override}: '{key}' is a value, not a section")
    section[_to_key(section, keys[-1], override)] = value


def _to_key(section: dict[str, Any] | list[Any], key: str, override: str) -> Any:  # noqa: ANN401 (str or int)
    """Return a key of a mapping, or a valid index of a list."""
    if isinstance(section, dict):
        return key
    if key not in map(str, range(len(section))):
        allowed = f"0 to {len(section) - 1}" if section else "none, it is empty"
        raise InputError(
            f"--set {override}: '{key}' is not the number of a list item; allowed: {allowed}"
        )
    return int(key)


class _Expansion:
    """A pass over the values of a file, before they are checked against the schema.

    It replaces ``${NAME}`` by environment variables, limits the size of expanded anchors, and
    collects in `mistakes` what the schema cannot check.
    """

    def __init__(self, file: str) -> None:
        self.mistakes: list[str] = []
        self._file, self._values = file, 0

    def expand(self, value: Any, place: str = "", level: int = 0) -> Any:  # noqa: ANN401 (any YAML value)
        """Return a value with its environment variables replaced.

        Raises
        ------
        InputError
            The file has more than `MAX_VALUES` values or `MAX_DEPTH` levels, or a set.
        """
        self._check_size(value, level)
        if isinstance(value, dict):
            prefix, section = (f"{place}.", place) if place else ("", "the file")
            return {
                self._check_text(key, f"{section}: a key"): self.expand(
                    item, f"{prefix}{key}", level + 1
                )
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.expand(item, f"{place}.{i}", level + 1) for i, item in enumerate(value)]
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            self.mistakes.append(
                f"{place}: the value is beyond {MAX_INTEGER:,}, the largest integer that is exact "
                "as a float"
            )
            return MAX_INTEGER  # a valid value, so that the schema reports the other mistakes
        return self._check_text(self._replace_variables(value, place), f"{place}: the value")

    def _check_size(self, value: object, level: int) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise InputError(
                f"{self._file}: with its anchors expanded it has more than {MAX_VALUES:,} "
                "values; use fewer aliases"
            )
        if level > MAX_DEPTH:
            raise InputError(f"{self._file}: it is nested more than {MAX_DEPTH} levels deep")
        if isinstance(value, set | tuple):  # pydantic would accept them as a list
            raise InputError(
                f"{self._file}: '!!set', '!!omap' and '!!pairs' are not allowed; use a list or a "
                "mapping"
            )

    def _replace_variables(self, value: Any, place: str) -> Any:  # noqa: ANN401 (any YAML value)
        """Return a text with its environment variables replaced; collect those that are unset."""
        if not isinstance(value, str):
            return value
        self.mistakes += [
            f"{place}: the environment variable {name} is not set (in '{value}')"
            for name in VARIABLE.findall(value)
            if name not in os.environ
        ]
        return VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), value)

    def _check_text(self, value: Any, what: str) -> Any:  # noqa: ANN401 (any YAML value)
        """Return a text with '?' for control characters and surrogates; collect those found.

        No path can contain them, and pydantic itself fails on surrogates.
        """
        if not isinstance(value, str):
            return value
        invalid = sorted(set(_CONTROL_CHARACTERS.findall(value)))
        if invalid:
            self.mistakes.append(
                f"{what} must be text without control characters or lone surrogates: "
                f"{', '.join(map(ascii, invalid))}"
            )
        return _CONTROL_CHARACTERS.sub("?", value)
