"""Reading a study file: YAML, overrides, environment variables, and all mistakes in one message."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from study.choices import FromFile
from study.errors import InputError
from study.mistakes import mistakes_of
from study.spec import StudySpec

_VARIABLE = re.compile(r"\$\{(\w+)\}")


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
    section = expanded.get("modalities", {})
    names = frozenset(map(str, section)) if isinstance(section, Mapping) else None
    try:
        spec = StudySpec.model_validate(expanded, context=FromFile(names))
    except ValidationError as error:
        mistakes += mistakes_of(error, expanded)
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise InputError("\n  ".join([f"{place}: {count}; nothing was run", *mistakes]))
    return spec


def preset_names() -> list[str]:
    """Return the names of the shipped study files."""
    return sorted(path.stem for path in _preset_path("any").parent.glob("*.yaml"))


def read_preset_note(name: str) -> str:
    """Return the description of a shipped study file."""
    raw = yaml.safe_load(_preset_path(name).read_text(encoding="utf-8"))
    return str(raw.get("description", ""))


def _preset_path(name: str) -> Path:
    """Return the file of a shipped preset (it may not exist)."""
    return Path(__file__).parent / "presets" / f"{name}.yaml"


def _find(source: str) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if _preset_path(source).is_file():
        return _preset_path(source)
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


def _position(section: dict[str, Any] | list[Any], key: str, override: str) -> Any:  # noqa: ANN401 (str or int)
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
