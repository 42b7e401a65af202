"""Plain values out of YAML: no code runs, a file has a largest size, and a key stands once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from study.errors import InputError

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
