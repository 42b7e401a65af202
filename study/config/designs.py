"""Designs: how the axes of a grid block become combinations of values.

The first value of every axis is the base. A combination maps each axis to one value.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import field_validator

from study.config.base import ConfigModel
from study.config.training import TrainingConfig

Technique = Literal["mlp_head", "label_balancer", "independent_mean", "single"]
Design = Literal["factorial", "one_at_a_time", "leave_one_out", "zipped"]
Axes = Mapping[str, tuple[Any, ...]]
Values = dict[str, Any]
Replacements = Mapping[str, Mapping[str, Any]]
NUMBERS = tuple(TrainingConfig.model_fields)


class Condition(ConfigModel):
    """Where an axis applies: every field that is given must hold.

    Attributes
    ----------
    technique, fusion, partition : list of words
        One of them, whatever its options.
    features : list of names
        All of them are in the feature set.
    """

    technique: tuple[Technique, ...] = ()
    features: tuple[str, ...] = ()
    fusion: tuple[str, ...] = ()
    partition: tuple[str, ...] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def holds(self, values: Values) -> bool:
        """Whether a combination is in this place."""
        return (
            (not self.technique or values["technique"] in self.technique)
            and set(self.features) <= set(values["features"])
            and (not self.fusion or values["fusion"].name in self.fusion)
            and (not self.partition or values["partition"].name in self.partition)
        )


def combine_axes(
    design: Design, axes: Axes, when: Mapping[str, Condition], without: Replacements
) -> Iterator[Values]:
    """Yield the combinations of a design, the base first; see `study.config.grid.Grid`."""
    if design == "one_at_a_time":
        found = _one_at_a_time(axes)
    elif design == "leave_one_out":
        found = _leave_one_out(base_combination(axes), without)
    elif design == "zipped":
        found = _zipped(axes)
    else:
        found = (
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        )
    for values in found:
        if all(_stands(axis, axes, values, place) for axis, place in when.items()):
            yield values


def base_combination(axes: Axes) -> Values:
    """Return the first value of every axis."""
    return {name: values[0] for name, values in axes.items()}


def _stands(axis: str, axes: Axes, values: Values, place: Condition) -> bool:
    """Whether a conditional axis may have its value here: elsewhere only its first."""
    return values[axis] == axes[axis][0] or place.holds(values)


def _one_at_a_time(axes: Axes) -> Iterator[Values]:
    base = base_combination(axes)
    yield base
    for name, values in axes.items():
        for value in values[1:]:
            yield {**base, name: value}


def _zipped(axes: Axes) -> Iterator[Values]:
    steps = max(len(values) for values in axes.values())
    for i in range(steps):
        yield {name: values[i if len(values) > 1 else 0] for name, values in axes.items()}


def _leave_one_out(base: Values, without: Replacements) -> Iterator[Values]:
    yield base
    names = base["features"]
    for left_out in names if len(names) > 1 else ():
        yield {**base, "features": tuple(name for name in names if name != left_out)}
    for changes in without.values():
        yield apply_changes(base, changes)


def apply_changes(base: Values, changes: Mapping[str, Any]) -> Values:
    """Return a base with values of its axes, or names in its feature set, replaced."""
    axes = {key: value for key, value in changes.items() if key in {*base, *NUMBERS} - {"features"}}
    names = {key: value for key, value in changes.items() if key not in axes}
    features = tuple(names.get(name, name) for name in base["features"])
    return {**base, **axes, "features": features}


def check_design(
    design: Design, axes: Axes, when: Mapping[str, Condition], without: Replacements
) -> None:
    """Check that a block has what its design needs, and nothing that it cannot use.

    Raises
    ------
    ValueError
        It has not; the message says what to change.
    """
    long = {name: len(values) for name, values in axes.items() if len(values) > 1}
    counts = ", ".join(f"{name} {count}" for name, count in long.items())
    if design == "zipped" and len(set(long.values())) > 1:
        raise ValueError(
            f"zipped axes advance together and need as many values each (or one): {counts}"
        )
    if design == "leave_one_out" and long:
        raise ValueError(
            f"leave_one_out has one base, so every axis names one value; several: {counts}"
        )
    if without and design != "leave_one_out":
        raise ValueError(f"'without' is for the design leave_one_out, not {design}")
    if when and design not in ("factorial", "one_at_a_time"):
        raise ValueError(f"'when' is for the designs factorial and one_at_a_time, not {design}")
    idle = [name for name in when if name not in long]
    if idle:
        raise ValueError(
            f"'when' names the axis '{idle[0]}', which does not vary in this block; "
            f"those that do: {', '.join(long) or 'none'}"
        )
    for component, changes in without.items():
        _check_component(component, base_combination(axes), changes)


def _check_component(component: str, base: Values, changes: Mapping[str, Any]) -> None:
    allowed = [*base["features"], *(name for name in base if name not in NUMBERS), *NUMBERS]
    allowed.remove("features")
    for key in changes:
        if key not in allowed:
            raise ValueError(
                f"without '{component}': '{key}' is no part of the base; "
                f"allowed: {', '.join(allowed)}"
            )
    then = apply_changes(base, changes)
    if then == base:
        raise ValueError(f"without '{component}': the base would stay as it is")
    if len(set(then["features"])) < len(then["features"]):
        raise ValueError(f"without '{component}': {list(then['features'])} names a modality twice")
    if then["technique"] == "single" and len(then["features"]) > 1:
        raise ValueError(f"without '{component}': 'single' takes one modality; the base has more")
