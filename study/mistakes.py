"""What pydantic finds wrong with a study file, as sentences about the file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

_YAML_TYPE = {"tuple": "list", "dictionary": "mapping"}
LONGEST = 200
"""Characters of a given value that a message repeats."""
_PYTHON_TYPE = re.compile(r"valid (tuple|dictionary)(?: or instance of \w+)?")


def mistakes_of(error: ValidationError, raw: object, model: type[BaseModel]) -> list[str]:
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
    return f", not {text}" if len(text) <= LONGEST else f", not {text[:LONGEST]} ..."


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
