"""Options of a word, read from the source text of its class without importing it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from study.errors import InputError

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_PLAIN: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "str": str}


@dataclass(frozen=True)
class Parameter:
    """One option of a word.

    Attributes
    ----------
    name : str
        Keyword.
    annotation : type
        int, float, bool, str, None, a Literal, or a union of these.
    default : int, float, bool, str or None
        Value when the option is not given.
    """

    name: str
    annotation: Any
    default: object

    @property
    def allowed(self) -> str:
        """The allowed values, readable: ``'add', 'mean'`` or ``float``."""
        return _readable(self.annotation)

    def parse(self, value: object) -> object:
        """Return the value in the option's own type (an int becomes a float where one is due).

        Raises
        ------
        InputError
            The value has another type, or is not one of the allowed ones.
        """
        message = f"option '{self.name}' cannot be {value!r}; allowed: {self.allowed}"
        try:
            parsed: object = _adapter(self.annotation).validate_python(value)
        except ValidationError as error:
            raise InputError(message) from error
        if isinstance(value, bool) != isinstance(parsed, bool):  # True == 1 meets Literal[1]
            raise InputError(message)
        return parsed


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:  # noqa: ANN401 (a type form has no type in 3.11)
    return TypeAdapter(annotation, config=_STRICT)


def _readable(annotation: Any) -> str:  # noqa: ANN401 (a type form has no type in 3.11)
    if annotation is None or annotation is type(None):
        return "null"
    if get_origin(annotation) is Literal:
        return ", ".join(repr(value) for value in get_args(annotation))
    members = get_args(annotation)
    return " or ".join(map(_readable, members)) if members else str(annotation.__name__)


@cache
def read_parameters(file: Path, name: str) -> Mapping[str, Parameter]:
    """Read the keyword-only parameters of a class's ``__init__`` from the text of its file.

    Parameters
    ----------
    file : Path
        Source file.
    name : str
        Class in it.

    Returns
    -------
    mapping of str to Parameter
        In the order of the signature; empty without an ``__init__``.

    Raises
    ------
    InputError
        There is no such class, or a parameter is not written literally.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
    if not classes:
        raise InputError(lacks_class(file, name))
    for node in classes[0].body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            options = [_option(file, argument, default) for argument, default in pairs]
            return MappingProxyType({option.name: option for option in options})
    return MappingProxyType({})


def lacks_class(file: Path, name: str) -> str:
    """Say that a word's file lacks its class."""
    return f"{file.parent.name}/{file.name} must define the class '{name}' (file name in CamelCase)"


def _option(file: Path, argument: ast.arg, default: ast.expr | None) -> Parameter:
    place = f"{file.parent.name}/{file.name}, line {argument.lineno}: option '{argument.arg}'"
    if argument.annotation is None or default is None:
        raise InputError(f"{place} needs an annotation and a default")
    try:
        return Parameter(argument.arg, _evaluated(argument.annotation), ast.literal_eval(default))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{place} must be written with int, float, bool, str, None, Literal[...] and '|' "
            "only, and with a literal default"
        ) from error


def _evaluated(node: ast.expr) -> Any:  # noqa: ANN401 (a type form has no type in 3.11)
    """Turn the syntax tree of an annotation into the type, without running the file."""
    match node:
        case ast.Name(id=name):
            return _PLAIN[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _evaluated(left) | _evaluated(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return Literal[ast.literal_eval(inner)]
    raise ValueError(ast.unparse(node))
