"""The section ``search`` of a study file: method, budget and search space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite, prod
from numbers import Real
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from study.config.base import ConfigModel
from study.config.training import TrainingConfig

STARTUP = 10
"""Configurations that Optuna's TPE draws at random before it fits its model (Optuna's default)."""
REDUCTION = 3
"""Reduction factor of successive halving: one configuration in 3 advances to the next rung."""
NOT_SEARCHED: Mapping[str, str] = {
    "epochs": "it is the maximum number of epochs, in which the cost of a search is counted",
    "monitor": "it is what configurations are compared by",
    "workers": "it is the number of processes of a trial",
}
"""Training settings that cannot be searched, and why."""


class SearchRange(ConfigModel):
    """A closed interval of values.

    Attributes
    ----------
    low, high : float
        Smallest and largest value.
    scale : {'linear', 'log'}
        Whether the value or its logarithm is drawn uniformly.
    """

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _check_order(self) -> SearchRange:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low ({self.low:g}) must be above 0 if the scale is 'log'")
        return self


def _find_domain_kind(value: object) -> str | None:
    if isinstance(value, Mapping | SearchRange):
        return "a range"
    return "a list" if isinstance(value, list | tuple) else None


Domain = Annotated[
    Annotated[SearchRange, Tag("a range")] | Annotated[tuple[Any, ...], Tag("a list")],
    Discriminator(
        _find_domain_kind,
        custom_error_type="domain",
        custom_error_message="must be a list of values, or a range such as {low: 0.1, high: 0.5}",
    ),
]


class SearchConfig(ConfigModel):
    """A hyperparameter search over training settings, the same for every arm.

    Every trial has its own search on the training part of its fold; see
    `study.training.search.trial`.

    Attributes
    ----------
    method : {'random', 'tpe', 'asha'}
        ``random``: independent draws; ``tpe``: Optuna's tree-structured Parzen estimator, one
        configuration after the other; ``asha``: successive halving, in which draws are trained
        together and the best third advances at each rung.
    budget : int
        Configurations per trial. The first one is the arm's own settings, so no search ends
        with worse validation scores than these.
    space : mapping of a training setting to a range or a list
        For example ``{learning_rate: {low: 1e-4, high: 1e-2, scale: log}, dropout: [0.1, 0.5]}``.
        A range of ``hidden`` is the range of the width of a single layer.
    seed : int
        Seed of the draws. All arms of a fold draw the same configurations.
    """

    method: Literal["random", "tpe", "asha"] = "random"
    budget: Annotated[int, Field(ge=2, le=1_000)]
    space: Annotated[Mapping[str, Domain], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=100_000)] = 0

    @field_validator("space")
    @classmethod
    def _check_space(cls, value: Mapping[str, Domain]) -> Mapping[str, Domain]:
        mistakes = [text for name, domain in value.items() for text in _find_mistakes(name, domain)]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return value

    @model_validator(mode="after")
    def _check_budget(self) -> SearchConfig:
        if self.method == "tpe" and self.budget <= STARTUP:
            raise ValueError(
                f"'tpe' draws its first {STARTUP} configurations at random: a budget of "
                f"{self.budget} would be a random search; raise it, or use 'random'"
            )
        if self.method == "asha" and self.budget < REDUCTION:
            raise ValueError(
                f"'asha' keeps 1 of {REDUCTION} configurations: a budget of {self.budget} would "
                f"drop none; set it to {REDUCTION} or more, or use 'random'"
            )
        size = self.size
        if size is not None and self.budget > size:
            raise ValueError(
                f"the space has {size} configurations, fewer than the budget of {self.budget}; "
                "widen it or lower the budget"
            )
        return self

    @property
    def size(self) -> int | None:
        """Number of distinct configurations; None if it is infinite."""
        sizes = [_count_values(name, domain) for name, domain in self.space.items()]
        return prod(size for size in sizes if size) if all(sizes) else None

    def json_value(self) -> dict[str, Any]:
        """Return the plain value that identities are made of."""
        return self.model_dump(mode="json")

    def __str__(self) -> str:
        return f"{self.method} search of {self.budget}"


def is_whole(name: str) -> bool:
    """Return whether a training setting is an integer, or a list of widths."""
    return _holds_int(TrainingConfig.model_fields[name].annotation)


def _holds_int(annotation: object) -> bool:
    return annotation is int or any(map(_holds_int, get_args(annotation)))


def to_file_value(name: str, value: Any) -> Any:  # noqa: ANN401 (any value of a training number)
    """Return a drawn value as in a study file: a width becomes a list of one hidden layer."""
    is_width = name == "hidden" and isinstance(value, Real) and isfinite(value)
    return [int(value)] if is_width else value


def _count_values(name: str, domain: SearchRange | tuple[Any, ...]) -> int | None:
    if not isinstance(domain, SearchRange):
        return len(domain)
    return round(domain.high - domain.low) + 1 if is_whole(name) else None


def _find_mistakes(name: str, domain: SearchRange | tuple[Any, ...]) -> Iterator[str]:
    """Yield the mistakes in the domain of one training setting."""
    searchable = [field for field in TrainingConfig.model_fields if field not in NOT_SEARCHED]
    if name not in searchable:
        known = name in NOT_SEARCHED
        reason = (
            f"cannot be searched: {NOT_SEARCHED[name]}" if known else "is not a training setting"
        )
        yield f"'{name}' {reason}; allowed: {', '.join(searchable)}"
        return
    values = (domain.low, domain.high) if isinstance(domain, SearchRange) else domain
    if len(values) < 2 or any(value in values[:i] for i, value in enumerate(values)):
        yield f"'{name}' must list at least two values, each once, not {list(values)}"
    for value in values:
        try:
            TrainingConfig.model_validate({name: to_file_value(name, value)})
        except ValidationError as error:
            yield from (f"'{name}' cannot be {value!r}: {item['msg']}" for item in error.errors())


def _check_against_grid(search: SearchConfig | None, info: ValidationInfo) -> SearchConfig | None:
    """Reject a search of settings that other sections of the study file set for some arms."""
    if search is None:
        return None
    blocks = info.data.get("grid", ())
    changes = [change for block in blocks for change in block.without.values()]
    settings = [*(b.training for b in blocks), *(a.training for b in blocks for a in b.arms)]
    set_by_grid = {name for source in (*settings, *changes) for name in source}
    both = sorted(set_by_grid & search.space.keys())
    if both:
        raise ValueError(
            f"{', '.join(both)}: a setting is either set by the grid or searched; remove it from "
            "one of them"
        )
    fixed_widths = any(arm.widths for block in blocks for arm in block.arms)
    if "hidden" in search.space and (fixed_widths or info.data.get("parameters") == "matched"):
        raise ValueError(
            "hidden: widths that give arms equal numbers of weights cannot be searched; remove "
            "'hidden' from the space, or write 'parameters: unmatched' and no 'widths'"
        )
    return search


Searched = Annotated[SearchConfig | None, AfterValidator(_check_against_grid)]
"""The section as a field of `StudySpec`; it must come after ``grid`` and ``parameters``."""


def to_plain(value: Any) -> Any:  # noqa: ANN401 (any value of a training number)
    """Return a value with tuples as lists, as in JSON."""
    return list(value) if isinstance(value, list | tuple) else value
