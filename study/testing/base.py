"""What the contracts of all families share: the component, its options, and its members."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, get_args, get_origin

import numpy as np
import pytest
import torch

from modalities import ModalityFeatures, Record
from study.errors import InputError
from study.plugins.parameters import Parameter, inspect_parameters
from study.plugins.registry import FAMILIES, to_class_name

MOLECULES = (
    "C",  # no bond between heavy atoms
    "O",
    "CCO",
    "CC(=O)OCC",
    "O=Cc1ccccc1",
    "C/C=C/C",
    "C[C@H](O)CC",
    "CC#N",
    "CSSC",
    "C1CCCCC1",
    "CCCCCCCCCC=O",
    "COc1cc(C=O)ccc1O",
    "C=C(C)[C@@H]1CC=C(C)CC1",
    "c1ccc2[nH]ccc2c1",
)
"""Molecules of many kinds, which every modality should represent."""


class ComponentContract:
    """The part of a contract that all families share.

    Attributes
    ----------
    family : str
        Key of `study.plugins.registry.FAMILIES`.
    component : type
        The class under test. Several classes are tested by a fixture `component_class` with
        parameters.
    options : mapping
        Options that the class needs, for example a file that the test makes.
    """

    family: ClassVar[str]
    component: ClassVar[type[Any]]
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def component_class(cls) -> type[Any]:
        return cls.component

    @pytest.fixture(scope="class")
    @classmethod
    def needed_options(cls) -> Mapping[str, Any]:
        return cls.options

    def test_has_every_member_of_its_family(self, component_class: type[Any]) -> None:
        assert FAMILIES[self.family].missing(component_class) == []

    def test_options_are_keyword_only_typed_and_have_defaults(
        self, component_class: type[Any]
    ) -> None:
        arguments = FAMILIES[self.family].arguments
        others = list(inspect.signature(component_class).parameters.values())[len(arguments) :]
        if component_class.__init__ is not object.__init__:
            assert {parameter.kind for parameter in others} <= {inspect.Parameter.KEYWORD_ONLY}
        try:
            inspect_parameters(component_class, component_class.__module__)
        except InputError as error:
            pytest.fail(str(error))


def is_name_of(name: str, component: type[Any]) -> bool:
    """Whether a class is named like a component: ``random_per_batch`` and RandomPerBatch."""
    return to_class_name(name).lower() == component.__name__.lower()


def read_options(component: type[Any]) -> Mapping[str, Parameter]:
    """Return the options of a class."""
    return inspect_parameters(component, component.__module__)


def other_value(option: Parameter) -> object:
    """Return another value of an option than its default; None if there is no simple one."""
    if get_origin(option.annotation) is Literal:
        return next(value for value in get_args(option.annotation) if value != option.default)
    if isinstance(option.default, bool):
        return not option.default
    if isinstance(option.default, int | float):
        return option.default * 2 or type(option.default)(1)
    return None if option.default is None else f"{option.default}{option.default}"


def literal_variants(component: type[Any]) -> list[dict[str, object]]:
    """Return every combination of the literal options of a class."""
    annotations = {name: option.annotation for name, option in read_options(component).items()}
    choices = {n: get_args(hint) for n, hint in annotations.items() if get_origin(hint) is Literal}
    return [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]


def featurize(modality: Any, smiles: Sequence[str]) -> ModalityFeatures:
    """Featurize molecules into a table, row i is molecule i."""
    records = [modality.featurize(text) for text in smiles]
    return ModalityFeatures.stack(modality.version, smiles, records)


def is_same_record(one: Record, other: Record) -> bool:
    """Whether two records have the same fields with the same values."""
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f")
        for name in one
    )


def is_same_state(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of tensors have the same names, types and values."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and torch.equal(one[name].nan_to_num(7.0), other[name].nan_to_num(7.0))
        for name in one
    )


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Check that a block leaves the global random generators as they were."""
    before = _read_random_state()
    yield
    assert _read_random_state() == before, "a global random generator was used"


def _read_random_state() -> tuple[Any, ...]:
    legacy: Any = np.random.get_state()  # noqa: NPY002 (its state is what is tested)
    return random.getstate(), legacy[1].tolist(), torch.get_rng_state().tolist()
