"""Plain values out of YAML that anyone may have written: no code, no bomb, nothing lost unsaid."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from study.errors import InputError

MOST_BYTES, MOST_VALUES, DEEPEST = 2_000_000, 100_000, 40
"""Limits of a file: a study of a thousand arms written one by one has a tenth of the first two."""
LARGEST = 2**53
"""Whole numbers up to here are exact in every step of a plan, a record and a page."""


class _Loader(yaml.SafeLoader):
    """YAML as plain values, where a key stands once and a wrong value has its line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401 (any YAML value)
        """Build a value; PyYAML's own constructors fail in several ways on a wrong one."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
            kind = str(node.tag).rsplit(":", 1)[-1]
            said = f"this is no value of the type '{kind}'"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping; a key that stands twice would silently hide what it had first."""
        _each_key_once(node)
        return super().construct_mapping(node, deep)


def _each_key_once(node: yaml.Node) -> None:
    if not isinstance(node, yaml.MappingNode):  # a list with the tag of a mapping: PyYAML says it
        return
    seen = set()
    for key, _ in node.value:
        name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
        if name in seen:
            said = f"the key '{key.value}' stands twice"
            raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
        if name is not None:
            seen.add(name)


def read_yaml(path: Path) -> Any:  # noqa: ANN401 (any YAML value)
    """Read a file of YAML.

    Raises
    ------
    InputError
        It cannot be read, is too large, or is not YAML; the message names file and line.
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
        raise yaml.YAMLError(f"nested more than {DEEPEST} levels deep") from error


def check_size(value: object, place: str) -> None:
    """Refuse values that repeat themselves (anchors) to no end, or are nested too deeply.

    Raises
    ------
    InputError
        More than `MOST_VALUES`, each counted as often as it is named; more than `DEEPEST` levels;
        or a value that is neither text nor number, list nor mapping.
    """
    count, height = _measured(value, {}, place, DEEPEST)
    if height > DEEPEST:
        raise InputError(_too_deep(place))
    if count > MOST_VALUES:
        raise InputError(
            f"{place}: with its anchors written out it has more than {MOST_VALUES:,} values; "
            "repeat less"
        )


def _measured(
    value: object, known: dict[int, tuple[int, int]], place: str, room: int
) -> tuple[int, int]:
    """Return how many values a value is written out, and its levels; an object is walked once."""
    if isinstance(value, set | tuple):
        raise InputError(f"{place}: '!!set', '!!omap' and '!!pairs' are neither list nor mapping")
    if not isinstance(value, dict | list):
        return 1, 0
    if room < 0:  # also a value that is inside itself
        raise InputError(_too_deep(place))
    if id(value) not in known:
        items = value.values() if isinstance(value, dict) else value
        found = [_measured(item, known, place, room - 1) for item in items]
        count = 1 + sum(count for count, _ in found)
        known[id(value)] = count, 1 + max((height for _, height in found), default=0)
    return known[id(value)]


def _too_deep(place: str) -> str:
    return f"{place}: it is nested more than {DEEPEST} levels deep"


def unusable(value: object, place: str = "") -> Iterator[str]:
    """Yield what no record, path or page could keep, as ``place: rule, value``."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _odd(key, f"{place or 'the file'}: a key")
            yield from unusable(item, join(place, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from unusable(item, join(place, number))
    else:
        yield from _odd(value, f"{place}: the value")


def _odd(value: object, what: str) -> Iterator[str]:
    """Yield what is wrong with one text or number."""
    odd = sorted({c for c in value if not _is_text(c)}) if isinstance(value, str) else []
    if odd:
        shown = ", ".join(ascii(character) for character in odd)
        yield f"{what} must be text, without control characters or halves of characters: {shown}"
    if isinstance(value, int) and abs(value) > LARGEST:
        yield f"{what} is beyond {LARGEST:,}, the largest whole number that stays exact"


def _is_text(character: str) -> bool:
    code = ord(character)
    control = code < 0x20 and character not in "\t\n\r"
    return not (control or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000)


def join(place: str, key: object) -> str:
    """Write the place of a value: ``grid.0.fusion``."""
    return f"{place}.{key}" if place else str(key)
