"""Reading a study file: YAML, overrides, environment variables, and all mistakes in one message."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from study.errors import InputError
from study.spec import StudySpec, preset_path

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_YAML_TYPE = {"tuple": "list", "dictionary": "mapping"}
_PYTHON_TYPE = re.compile(r"valid (tuple|dictionary)(?: or instance of \w+)?")


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
    path = _find(source)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise InputError(f"{path}: a study file is a mapping of sections, not {type(raw).__name__}")
    for override in overrides:
        _override(raw, override)
    return check_study(raw, str(path))


def check_study(raw: Mapping[str, Any], place: str) -> StudySpec:
    """Check the content of a study file; `place` names it in the message."""
    mistakes: list[str] = []
    expanded = _expand(raw, "", mistakes)
    try:
        spec = StudySpec.model_validate(expanded)
    except ValidationError as error:
        mistakes += [_readable(detail, expanded) for detail in _causes(error)]
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise InputError("\n  ".join([f"{place}: {count}; nothing was run", *mistakes]))
    return spec


def preset_names() -> list[str]:
    """Return the names of the shipped study files."""
    return sorted(path.stem for path in preset_path("any").parent.glob("*.yaml"))


def read_preset_note(name: str) -> str:
    """Return the description of a shipped study file."""
    raw = yaml.safe_load(preset_path(name).read_text(encoding="utf-8"))
    return str(raw.get("description", ""))


def _find(source: str) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if preset_path(source).is_file():
        return preset_path(source)
    raise InputError(
        f"'{source}' is neither a study file nor a preset; presets: {', '.join(preset_names())}"
    )


def _override(raw: dict[str, Any], override: str) -> None:
    """Set one value by its place, making sections on the way."""
    place, equals, text = override.partition("=")
    keys = place.strip().split(".")
    if not equals or not all(keys):
        raise InputError(
            f"--set takes place=value, for example training.epochs=20, not '{override}'"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not YAML ({error})") from error
    section: Any = raw
    for key in keys[:-1]:
        at = _position(section, key, override)
        section = section[at] if isinstance(section, list) else section.setdefault(at, {})
        if not isinstance(section, dict | list):
            raise InputError(f"--set {override}: '{key}' is a value, not a section")
    section[_position(section, keys[-1], override)] = value


def _position(section: dict[str, Any] | list[Any], key: str, override: str) -> str | int:
    """Return the key in a mapping, or the checked number of an item of a list."""
    if isinstance(section, dict):
        return key
    if not key.isdecimal() or int(key) >= len(section):
        raise InputError(
            f"--set {override}: '{key}' stands for an item of a list; "
            f"allowed: 0 to {len(section) - 1}"
        )
    return int(key)


def _expand(value: Any, place: str, mistakes: list[str]) -> Any:  # noqa: ANN401 (any YAML value)
    """Replace ``${NAME}`` by the environment; an unset one is a mistake with its place."""
    if isinstance(value, dict):
        return {key: _expand(item, _join(place, key), mistakes) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, _join(place, i), mistakes) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in os.environ:
            mistakes.append(f"{place}: the environment variable {name} is not set (in '{value}')")
    return _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), value)


def _join(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


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


def _readable(detail: Mapping[str, Any], raw: object) -> str:
    """One mistake as ``place: rule, value``."""
    keys = _keys_of_the_file(detail["loc"], raw)
    place = ".".join(str(key) for key in keys) or "the file"
    if detail["type"] == "extra_forbidden":
        allowed = _allowed(StudySpec, keys[:-1])
        return f"{place}: unknown key;{_near(str(keys[-1]), allowed)} allowed: {', '.join(allowed)}"
    if detail["type"] == "missing":
        return f"{place}: is missing"
    if detail["type"] == "too_short":
        return f"{place}: must name at least one, not {detail['input']!r}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    message = _PYTHON_TYPE.sub(lambda match: _YAML_TYPE[match[1]], message)
    given = detail["input"]
    shown = "" if detail["type"] == "value_error" or isinstance(given, dict) else f", not {given!r}"
    return f"{place}: {message[0].lower()}{message[1:]}{shown}"


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
