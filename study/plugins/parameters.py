"""Options of a component, from the source text of its class or from the class itself.

Components of this program are read without being imported, because torch takes seconds to import;
those from outside are inspected.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from study.errors import InputError

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_TYPES: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "str": str}


@dataclass(frozen=True)
class Parameter:
    """One option of a component: a keyword-only parameter of its class.

    Attributes
    ----------
    name : str
        Keyword.
    annotation : type
        int, float, bool, str, None, a Literal, or a union of these.
    default : int, float, bool, str or None
        Value if the study file does not set the option.
    """

    name: str
    annotation: Any
    default: object

    @property
    def allowed(self) -> str:
        """The allowed values as text: ``'add', 'mean'`` or ``float``."""
        return _format_type(self.annotation)

    def parse(self, value: object) -> object:
        """Return a value in the type of the option (an int becomes a float if it is a float).

        Raises
        ------
        InputError
            The value has another type, or is not one of the allowed ones.
        """
        message = f"option '{self.name}' cannot be {value!r}; allowed: {self.allowed}"
        try:
            parsed: object = _build_validator(self.annotation).validate_python(value)
        except ValidationError as error:
            raise InputError(message) from error
        if isinstance(value, bool) != isinstance(parsed, bool):  # Literal[1] accepts True
            raise InputError(message)
        return parsed


@cache
def _build_validator(annotation: Any) -> TypeAdapter[Any]:  # noqa: ANN401 (a type form has no type in 3.11)
    return TypeAdapter(annotation, config=_STRICT)


def _format_type(annotation: Any) -> str:  # noqa: ANN401 (a type form has no type in 3.11)
    if annotation is None or annotation is type(None):
        return "null"
    if get_origin(annotation) is Literal:
        return ", ".join(repr(value) for value in get_args(annotation))
    members = get_args(annotation)
    return " or ".join(map(_format_type, members)) if members else str(annotation.__name__)


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
        The file has no such class, or a parameter has no literal annotation and default.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
    if not classes:
        raise InputError(format_missing_class(file, name))
    for node in classes[0].body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            options = [_read_parameter(file, argument, default) for argument, default in pairs]
            return MappingProxyType({option.name: option for option in options})
    return MappingProxyType({})


def inspect_parameters(component: type[Any], place: str) -> Mapping[str, Parameter]:
    """Return the keyword-only parameters of a class, in the order of its signature.

    Parameters
    ----------
    component : type
    place : str
        Where the class comes from, for messages.

    Raises
    ------
    InputError
        A parameter has another annotation than the literal types, or no literal default.
    """
    # Strings are parsed, not evaluated: other parameters may use names for type checkers only.
    parameters = inspect.signature(component).parameters.values()
    options = [
        _inspect_parameter(component, parameter, place)
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    return MappingProxyType({option.name: option for option in options})


def _inspect_parameter(component: type[Any], parameter: inspect.Parameter, place: str) -> Parameter:
    where = f"{place}, class '{component.__name__}': option '{parameter.name}'"
    if parameter.empty in (parameter.annotation, parameter.default):
        raise InputError(f"{where} needs an annotation and a default")
    annotation = parameter.annotation
    try:
        if isinstance(annotation, str):
            annotation = _evaluate_annotation(ast.parse(annotation, mode="eval").body)
        if not _is_plain(annotation):
            raise TypeError(annotation)  # noqa: TRY301 (one message for all)
        option = Parameter(parameter.name, annotation, parameter.default)
        option.parse(parameter.default)
    except (ValueError, KeyError, TypeError, SyntaxError) as error:
        raise InputError(
            f"{where} must be annotated with int, float, bool, str, None, Literal[...] and '|' "
            "only, and have a default of that type"
        ) from error
    return option


def _is_plain(annotation: Any) -> bool:  # noqa: ANN401 (a type form has no type in 3.11)
    """Whether values of a type can be written in a study file."""
    if get_origin(annotation) in (Union, UnionType):
        return all(map(_is_plain, get_args(annotation)))
    plain = (*_TYPES.values(), NoneType, None)
    return annotation in plain or get_origin(annotation) is Literal


def format_missing_class(file: Path, name: str) -> str:
    """Return the message for a component file without its class."""
    return f"{file.parent.name}/{file.name} must define the class '{name}' (file name in CamelCase)"


def _read_parameter(file: Path, argument: ast.arg, default: ast.expr | None) -> Parameter:
    place = f"{file.parent.name}/{file.name}, line {argument.lineno}: option '{argument.arg}'"
    if argument.annotation is None or default is None:
        raise InputError(f"{place} needs an annotation and a default")
    try:
        return Parameter(
            argument.arg, _evaluate_annotation(argument.annotation), ast.literal_eval(default)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{place} must be annotated with int, float, bool, str, None, Literal[...] and '|' "
            "only, and have a literal default"
        ) from error


def _evaluate_annotation(node: ast.expr) -> Any:  # noqa: ANN401 (a type form has no type in 3.11)
    """Return the type that the syntax tree of an annotation describes."""
    match node:
        case ast.Name(id=name):
            return _TYPES[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _evaluate_annotation(left) | _evaluate_annotation(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return Literal[ast.literal_eval(inner)]
    raise ValueError(ast.unparse(node))
