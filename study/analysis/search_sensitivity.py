"""Sensitivity to the search budget: expected best validation value by number of configurations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.config.search import SearchRange, to_plain
from study.planning.trials import Arm
from study.results.search_log import SearchLog

Floats = NDArray[np.float64]
EDGE = 0.05
"""Outer share of a range, on its own scale, that counts as its edge."""
FINE = 5
"""Minimum length of a list of values for its ends to be informative: of three, two are ends."""


def estimate_expected_best(values: Sequence[float]) -> Floats:
    """Return the expected maximum of n values drawn without replacement, for n = 1 to m.

    Parameters
    ----------
    values : sequence of float, (m,)
        In any order; minus infinity for a configuration that could not be trained.

    Returns
    -------
    ndarray of float64, (m,)
        Sum over i of v_(i) C(i - 1, n - 1) / C(m, n), with v_(i) the i-th smallest value: all
        C(m, n) subsets are equally likely, and v_(i) is the largest of C(i - 1, n - 1) of them.

    References
    ----------
    Dodge et al. 2019, Show Your Work (EMNLP), with replacement; Tang et al. 2020, Showing Your
    Work Doesn't Always Work (ACL), show that this form without replacement is unbiased.
    """
    ranked, m = np.sort(np.asarray(values, dtype=np.float64)), len(values)
    rank, probability = np.arange(1, m + 1), np.full(m, 1 / max(1, m))
    expected = np.empty(m)
    for n in range(1, m + 1):
        expected[n - 1] = probability[n - 1 :] @ ranked[n - 1 :]
        # C(i - 1, n) / C(m, n + 1) from C(i - 1, n - 1) / C(m, n)
        probability = probability * ((rank - n) / n) * ((n + 1) / max(1, m - n))
    expected[-1:] = ranked[-1:]  # exact, without the rounding error of the recursion
    return expected


def estimate_best_so_far(log: SearchLog) -> Floats:
    """Return the expected best validation value of a trial for each budget from 1 on, (b,).

    The first configuration, the arm's own hyperparameters, is part of every budget. The others
    were drawn independently, so every subset of them is equally likely. Suggestions of TPE are not
    independent; for TPE the curve is the running maximum in their order. A configuration that
    successive halving dropped counts with its last best value. NaN if nothing was trained.
    """
    values = [-inf if value.value is None else value.value for value in log.tried]
    first, others = values[0], [max(values[0], value) for value in values[1:]]
    if log.method == "tpe":
        best: Sequence[float] = np.maximum.accumulate(values).tolist()
    else:
        best = [first, *estimate_expected_best(others).tolist()]
    # Repeat the last value if the space had fewer distinct configurations than the budget.
    padded = [*best, *[best[-1]] * (log.budget - len(best))]
    curve = np.array(padded, dtype=np.float64)
    return np.where(np.isfinite(curve), curve, np.nan)


@dataclass(frozen=True)
class ArmSearch:
    """Hyperparameter searches of one arm.

    Attributes
    ----------
    arm : Arm
    logs : tuple of SearchLog
        One per trial, at least one.
    """

    arm: Arm
    logs: tuple[SearchLog, ...]

    @cached_property
    def curve(self) -> Floats:
        """Expected best validation value by budget, mean over the trials, (b,)."""
        mean: Floats = np.mean([estimate_best_so_far(log) for log in self.logs], axis=0)
        return mean

    @property
    def gain(self) -> float:
        """Gain in validation value over the arm's own hyperparameters at the full budget."""
        return float(self.curve[-1] - self.curve[0])

    @property
    def last_half(self) -> float:
        """Gain in validation value from the second half of the budget."""
        return float(self.curve[-1] - self.curve[(len(self.curve) - 1) // 2])

    @property
    def epochs(self) -> float:
        """Number of search epochs per trial, mean over the trials."""
        return float(np.mean([log.epochs for log in self.logs]))

    @property
    def seconds(self) -> float:
        """Wall time of the search per trial, mean over the trials."""
        return float(np.mean([log.seconds for log in self.logs]))

    @property
    def kept_initial(self) -> int:
        """Number of trials that chose the arm's own hyperparameters."""
        return sum(log.chosen == 0 for log in self.logs)

    @property
    def broken(self) -> int:
        """Number of configurations whose training failed, over all trials."""
        return sum(bool(candidate.cause) for log in self.logs for candidate in log.tried)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the searched hyperparameters that affect the arm."""
        return tuple(self.logs[0].tried[0].numbers)

    def chosen(self, name: str) -> list[Any]:
        """Return the value of a hyperparameter that each trial chose."""
        return [log.winner.numbers[name] for log in self.logs]

    def at_edge(self, name: str) -> int:
        """Count the trials that chose a value at an end of a hyperparameter's range."""
        search = self.arm.search
        domain = search.space[name] if search else ()
        own_value = self.logs[0].tried[0].numbers[name]
        return sum(value != own_value and _is_on_edge(value, domain) for value in self.chosen(name))


def _is_on_edge(value: object, domain: SearchRange | tuple[Any, ...]) -> bool:
    """Whether a value lies at the edge of a range, or is the smallest or largest of a list."""
    single = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(domain, SearchRange):
        if not isinstance(single, int | float):
            return False
        ends = np.array([domain.low, single, domain.high], dtype=np.float64)
        low, position, high = np.log(ends) if domain.scale == "log" else ends
        return not EDGE <= (position - low) / (high - low) <= 1 - EDGE
    choices = [to_plain(choice) for choice in domain]
    ordered = all(isinstance(choice, int | float) for choice in choices) and len(choices) >= FINE
    return ordered and value in (min(choices), max(choices))


@dataclass(frozen=True)
class Crossing:
    """Two arms whose order at the full budget differs from that with their own hyperparameters.

    Attributes
    ----------
    ahead, behind : ArmSearch
        Order at the full budget.
    before, after : float
        Difference of their validation values with their own hyperparameters, and at the full
        budget.
    """

    ahead: ArmSearch
    behind: ArmSearch
    before: float
    after: float


def find_crossings(arms: Sequence[ArmSearch]) -> Iterator[Crossing]:
    """Yield the pairs of arms at one fraction whose order the search reverses."""
    for one, other in combinations(arms, 2):
        if one.arm.fraction != other.arm.fraction:
            continue
        ahead, behind = (one, other) if one.curve[-1] >= other.curve[-1] else (other, one)
        before, after = (float(ahead.curve[n] - behind.curve[n]) for n in (0, -1))
        if before < 0 < after:
            yield Crossing(ahead, behind, before, after)
