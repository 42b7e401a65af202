"""Configurations out of a search space: seeded draws, each configuration once."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from study.config.search import SearchConfig, SearchRange, is_whole, to_plain, written_value
from study.config.training import TrainingConfig

ATTEMPTS = 100
"""Draws for each configuration that is still lacking, before a space counts as used up."""
Numbers = Mapping[str, Any]
"""Values of the searched numbers, as a study file writes them."""


class ConfigurationSampler:
    """Independent draws from the space of a search, those that an arm feels.

    Every arm draws from the whole space with the same generator and then leaves out the numbers
    that it does not feel: in one fold all arms meet the same values, so that no difference
    between two arms is the luck of their draws.

    Parameters
    ----------
    search : SearchConfig
    own : TrainingConfig
        The arm's own numbers: the first configuration.
    felt : collection of str
        Numbers that make a difference to the arm.
    seed : int
        Of the trial.
    """

    def __init__(
        self, search: SearchConfig, own: TrainingConfig, felt: Collection[str], seed: int
    ) -> None:
        self.space = {name: domain for name, domain in search.space.items() if name in felt}
        self.first: Numbers = {name: to_plain(getattr(own, name)) for name in self.space}
        self._whole, self._rng = search.space, np.random.default_rng([search.seed, seed])
        self._seen = {configuration_key(self.first)}

    def new(self, numbers: Numbers) -> bool:
        """Whether a configuration was not met before; from now on it was."""
        key = configuration_key(numbers)
        known = key in self._seen
        self._seen.add(key)
        return not known

    def draw(self) -> Numbers | None:
        """Return a configuration that was not met before; None if none was found."""
        for _ in range(ATTEMPTS):
            drawn = {name: sample_value(d, name, self._rng) for name, d in self._whole.items()}
            numbers = {name: drawn[name] for name in self.space}
            if self.new(numbers):
                return numbers
        return None

    def several(self, count: int) -> list[Numbers]:
        """Return so many configurations, the arm's own first; fewer if the space is used up."""
        found = [self.first]
        while len(found) < count and (numbers := self.draw()) is not None:
            found.append(numbers)
        return found


def sample_value(domain: SearchRange | Sequence[Any], name: str, rng: np.random.Generator) -> Any:  # noqa: ANN401 (any value of a training number)
    """Draw one value of a number; a whole number of a log range is the floor of a real one."""
    if not isinstance(domain, SearchRange):
        return to_plain(domain[int(rng.integers(len(domain)))])
    whole = is_whole(name)
    low, high = domain.low, domain.high + whole
    if domain.scale == "log":
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
    else:
        value = float(rng.uniform(low, high))
    value = min(float(math.floor(value)) if whole else value, domain.high)
    return written_value(name, int(value) if whole else value)


def apply_values(numbers: Numbers, own: TrainingConfig) -> TrainingConfig:
    """Return the arm's own numbers with these in their place."""
    return TrainingConfig.model_validate({**own.model_dump(), **numbers})


def configuration_key(numbers: Numbers) -> str:
    """Return what tells a configuration apart."""
    return json.dumps(numbers, sort_keys=True)
