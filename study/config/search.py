"""The section ``search`` of a study file: the method, the budget and the space of the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
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
"""Configurations that Optuna's TPE draws at random before it models anything (its default)."""
REDUCTION = 3
"""Of so many configurations one goes on to the next rung of a successive halving."""
KEPT: Mapping[str, str] = {
    "epochs": "it is the most epochs of a training, which the cost of a search is counted in",
    "monitor": "it is what configurations are compared by",
    "workers": "it is the number of processes that a trial has",
}
"""Training numbers that are not searched, and why."""


class SearchRange(ConfigModel):
    """Values between two ends, both of which belong to it.

    Attributes
    ----------
    low, high : float
    scale : {'linear', 'log'}
        What is drawn evenly: the value or its logarithm.
    """

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _ordered(self) -> SearchRange:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low ({self.low:g}) must be above 0 where the scale is 'log'")
        return self


def _kind(value: object) -> str | None:
    if isinstance(value, Mapping | SearchRange):
        return "a range"
    return "a list" if isinstance(value, list | tuple) else None


Domain = Annotated[
    Annotated[SearchRange, Tag("a range")] | Annotated[tuple[Any, ...], Tag("a list")],
    Discriminator(
        _kind,
        custom_error_type="domain",
        custom_error_message="must be a list of values, or a range such as {low: 0.1, high: 0.5}",
    ),
]


class SearchConfig(ConfigModel):
    """Search of training numbers: the same for every arm.

    Each trial searches for itself, on the training part of its fold alone; see
    `study.training.search.trial`.

    Attributes
    ----------
    method : {'random', 'tpe', 'asha'}
        Independent draws; Optuna's tree-structured Parzen estimator, one after the other; or
        draws that are trained side by side, of which the best third goes on at each rung.
    budget : int
        Configurations that every arm tries in every trial. The first one is the arm's own
        numbers, so that no arm falls behind them for want of luck.
    space : mapping of a training number to a range or a list
        For example ``{learning_rate: {low: 1e-4, high: 1e-2, scale: log}, dropout: [0.1, 0.5]}``.
        A range of ``hidden`` is that of the width of one layer.
    seed : int
        Of the draws. All arms of a fold draw the same ones.
    """

    method: Literal["random", "tpe", "asha"] = "random"
    budget: Annotated[int, Field(ge=2, le=1_000)]
    space: Annotated[Mapping[str, Domain], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=100_000)] = 0

    @field_validator("space")
    @classmethod
    def _numbers(cls, value: Mapping[str, Domain]) -> Mapping[str, Domain]:
        mistakes = [text for name, domain in value.items() for text in _faults(name, domain)]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return value

    @model_validator(mode="after")
    def _affordable(self) -> SearchConfig:
        if self.method == "tpe" and self.budget <= STARTUP:
            raise ValueError(
                f"'tpe' draws its first {STARTUP} configurations at random: a budget of "
                f"{self.budget} would be a random search; give it more, or use 'random'"
            )
        if self.method == "asha" and self.budget < REDUCTION:
            raise ValueError(
                f"'asha' lets 1 of {REDUCTION} configurations go on: a budget of {self.budget} "
                f"would drop none; give it {REDUCTION} or more, or use 'random'"
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
        """Number of distinct configurations; None if there is no end of them."""
        sizes = [_size(name, domain) for name, domain in self.space.items()]
        return prod(size for size in sizes if size) if all(sizes) else None

    def json_value(self) -> dict[str, Any]:
        """Return the plain value that identities are made of."""
        return self.model_dump(mode="json")

    def __str__(self) -> str:
        return f"{self.method} search of {self.budget}"


def is_whole(name: str) -> bool:
    """Whether a training number is an integer, or widths."""
    return _holds_int(TrainingConfig.model_fields[name].annotation)


def _holds_int(annotation: object) -> bool:
    return annotation is int or any(map(_holds_int, get_args(annotation)))


def to_file_value(name: str, value: Any) -> Any:  # noqa: ANN401 (any value of a training number)
    """Return a drawn value as a study file writes it: a width stands for one hidden layer."""
    return [int(value)] if name == "hidden" and not isinstance(value, list | tuple) else value


def _size(name: str, domain: SearchRange | tuple[Any, ...]) -> int | None:
    if not isinstance(domain, SearchRange):
        return len(domain)
    return round(domain.high - domain.low) + 1 if is_whole(name) else None


def _faults(name: str, domain: SearchRange | tuple[Any, ...]) -> Iterator[str]:
    """Yield what is wrong with the values of one number."""
    free = [field for field in TrainingConfig.model_fields if field not in KEPT]
    if name not in free:
        why = f" is not searched: {KEPT[name]}" if name in KEPT else " is not a training number"
        yield f"'{name}'{why}; allowed: {', '.join(free)}"
        return
    values = (domain.low, domain.high) if isinstance(domain, SearchRange) else domain
    if len(values) < 2 or any(value in values[:i] for i, value in enumerate(values)):
        yield f"'{name}' must name at least two values, each once, not {list(values)}"
    for value in values:
        try:
            TrainingConfig.model_validate({name: to_file_value(name, value)})
        except ValidationError as error:
            yield from (f"'{name}' cannot be {value!r}: {each['msg']}" for each in error.errors())


def _beside(search: SearchConfig | None, info: ValidationInfo) -> SearchConfig | None:
    """Refuse a search of numbers that other sections of the study file fix for some arms."""
    if search is None:
        return None
    blocks = info.data.get("grid", ())
    changes = [change for block in blocks for change in block.without.values()]
    sources = [*(b.training for b in blocks), *(a.training for b in blocks for a in b.arms)]
    given = {name for source in (*sources, *changes) for name in source}
    twice = sorted(given & search.space.keys())
    if twice:
        raise ValueError(
            f"{', '.join(twice)}: a number is given by the grid or searched, not both; "
            "take it out of one of them"
        )
    fixed = any(arm.widths for block in blocks for arm in block.arms)
    if "hidden" in search.space and (fixed or info.data.get("parameters") == "matched"):
        raise ValueError(
            "hidden: widths that give arms equal numbers of weights cannot be searched; take "
            "'hidden' out of the space, or write 'parameters: unmatched' and no 'widths'"
        )
    return search


Searched = Annotated[SearchConfig | None, AfterValidator(_beside)]
"""The section as a field of a study, after its grid and parameters."""


def to_plain(value: Any) -> Any:  # noqa: ANN401 (any value of a training number)
    """Return a value as JSON has it."""
    return list(value) if isinstance(value, list | tuple) else value
