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
TRAINING_AXES = tuple(TrainingConfig.model_fields)


class Condition(ConfigModel):
    """The combinations in which an axis varies: those that match every field that is set.

    Attributes
    ----------
    technique, fusion, partition : list of names
        The combination has one of them, with any options.
    features : list of names
        The feature set has all of them.
    """

    technique: tuple[Technique, ...] = ()
    features: tuple[str, ...] = ()
    fusion: tuple[str, ...] = ()
    partition: tuple[str, ...] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _to_tuple(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def holds(self, values: Values) -> bool:
        """Return whether a combination matches."""
        return (
            (not self.technique or values["technique"] in self.technique)
            and set(self.features) <= set(values["features"])
            and (not self.fusion or values["fusion"].name in self.fusion)
            and (not self.partition or values["partition"].name in self.partition)
        )


def combine_axes(
    design: Design, axes: Axes, when: Mapping[str, Condition], without: Replacements
) -> Iterator[Values]:
    """Yield the combinations of a design, the base first; see `study.config.grid.GridBlock`."""
    if design == "one_at_a_time":
        combinations = _combine_one_at_a_time(axes)
    elif design == "leave_one_out":
        combinations = _combine_leave_one_out(build_base_combination(axes), without)
    elif design == "zipped":
        combinations = _combine_zipped(axes)
    else:
        combinations = (
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        )
    for values in combinations:
        if all(_is_allowed(axis, axes, values, condition) for axis, condition in when.items()):
            yield values


def build_base_combination(axes: Axes) -> Values:
    """Return the first value of every axis."""
    return {name: values[0] for name, values in axes.items()}


def _is_allowed(axis: str, axes: Axes, values: Values, condition: Condition) -> bool:
    """Return whether a conditional axis may have its value: its first, or the condition holds."""
    return values[axis] == axes[axis][0] or condition.holds(values)


def _combine_one_at_a_time(axes: Axes) -> Iterator[Values]:
    base = build_base_combination(axes)
    yield base
    for name, values in axes.items():
        for value in values[1:]:
            yield {**base, name: value}


def _combine_zipped(axes: Axes) -> Iterator[Values]:
    steps = max(len(values) for values in axes.values())
    for i in range(steps):
        yield {name: values[i if len(values) > 1 else 0] for name, values in axes.items()}


def _combine_leave_one_out(base: Values, without: Replacements) -> Iterator[Values]:
    yield base
    names = base["features"]
    for left_out in names if len(names) > 1 else ():
        yield {**base, "features": tuple(name for name in names if name != left_out)}
    for changes in without.values():
        yield apply_changes(base, changes)


def apply_changes(base: Values, changes: Mapping[str, Any]) -> Values:
    """Return a base combination with replaced axis values or modalities."""
    axes = {
        key: value
        for key, value in changes.items()
        if key in {*base, *TRAINING_AXES} - {"features"}
    }
    names = {key: value for key, value in changes.items() if key not in axes}
    features = tuple(names.get(name, name) for name in base["features"])
    return {**base, **axes, "features": features}


def check_design(
    design: Design, axes: Axes, when: Mapping[str, Condition], without: Replacements
) -> None:
    """Check that a block has the keys that its design needs, and no others.

    Raises
    ------
    ValueError
        The block and its design do not match; the message says what to change.
    """
    lengths = {name: len(values) for name, values in axes.items() if len(values) > 1}
    counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
    if design == "zipped" and len(set(lengths.values())) > 1:
        raise ValueError(
            "zipped axes advance together and need the same number of values (or one value): "
            f"{counts}"
        )
    if design == "leave_one_out" and lengths:
        raise ValueError(
            f"leave_one_out has one base, so every axis must have one value; several: {counts}"
        )
    if without and design != "leave_one_out":
        raise ValueError(f"'without' is for the design leave_one_out, not {design}")
    if when and design not in ("factorial", "one_at_a_time"):
        raise ValueError(f"'when' is for the designs factorial and one_at_a_time, not {design}")
    constant = [name for name in when if name not in lengths]
    if constant:
        raise ValueError(
            f"'when' names the axis '{constant[0]}', which does not vary in this block; "
            f"axes that do: {', '.join(lengths) or 'none'}"
        )
    for component, changes in without.items():
        _check_replacement(component, build_base_combination(axes), changes)


def _check_replacement(component: str, base: Values, changes: Mapping[str, Any]) -> None:
    allowed = [
        *base["features"],
        *(name for name in base if name not in TRAINING_AXES),
        *TRAINING_AXES,
    ]
    allowed.remove("features")
    for key in changes:
        if key not in allowed:
            raise ValueError(
                f"without '{component}': '{key}' is not part of the base; "
                f"allowed: {', '.join(allowed)}"
            )
    changed = apply_changes(base, changes)
    features = changed["features"]
    if changed == base:
        raise ValueError(f"without '{component}': the base would not change")
    if len(set(features)) < len(features):
        raise ValueError(f"without '{component}': {list(features)} names a modality twice")
    if changed["technique"] == "single" and len(features) > 1:
        raise ValueError(f"without '{component}': 'single' takes one modality; the base has more")
