"""What more configurations are worth: expected best validation value by size of the budget."""

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
"""Fewest values of a list whose ends say anything: of three values, two are ends."""


def estimate_expected_best(values: Sequence[float]) -> Floats:
    """Return the expected largest of n of these values, drawn without replacement, for n from 1.

    Parameters
    ----------
    values : sequence of float, (m,)
        In any order; minus infinity stands for what could not be trained.

    Returns
    -------
    ndarray of float64, (m,)
        Sum over i of v_(i) C(i - 1, n - 1) / C(m, n), v_(i) the i-th smallest value: each of the
        C(m, n) subsets is as likely, and v_(i) is the largest of C(i - 1, n - 1) of them.

    References
    ----------
    Dodge et al. 2019, Show Your Work (EMNLP), with replacement; Tang et al. 2020, Showing Your
    Work Doesn't Always Work (ACL), show that this form without replacement is unbiased.
    """
    ranked, m = np.sort(np.asarray(values, dtype=np.float64)), len(values)
    place, share = np.arange(1, m + 1), np.full(m, 1 / max(1, m))
    found = np.empty(m)
    for n in range(1, m + 1):
        found[n - 1] = share[n - 1 :] @ ranked[n - 1 :]
        share = share * ((place - n) / n) * ((n + 1) / max(1, m - n))
    found[-1:] = ranked[-1:]  # but for the rounding
    return found


def best_so_far(log: SearchLog) -> Floats:
    """Return the expected best validation value of a trial for each budget from 1 on, (b,).

    The first configuration, the arm's own numbers, is part of every budget; the others were
    drawn independently, so that every choice of them is as likely. Suggestions of TPE are not
    independent: there the curve is the best value so far, in their order. A configuration that a
    halving dropped counts with the value that it had come to. NaN where nothing was trained.
    """
    values = [-inf if each.value is None else each.value for each in log.tried]
    first, others = values[0], [max(values[0], each) for each in values[1:]]
    if log.method == "tpe":
        best: Sequence[float] = np.maximum.accumulate(values).tolist()
    else:
        best = [first, *estimate_expected_best(others).tolist()]
    padded = [*best, *[best[-1]] * (log.budget - len(best))]  # the space has no more of them
    curve = np.array(padded, dtype=np.float64)
    return np.where(np.isfinite(curve), curve, np.nan)


@dataclass(frozen=True)
class ArmSearch:
    """The searches of one arm.

    Attributes
    ----------
    arm : Arm
    logs : tuple of SearchLog
        One a trial, at least one.
    """

    arm: Arm
    logs: tuple[SearchLog, ...]

    @cached_property
    def curve(self) -> Floats:
        """Expected best validation value by budget, mean over the trials, (b,)."""
        mean: Floats = np.mean([best_so_far(log) for log in self.logs], axis=0)
        return mean

    @property
    def gain(self) -> float:
        """What the search is worth on the validation part, over the arm's own numbers."""
        return float(self.curve[-1] - self.curve[0])

    @property
    def last_half(self) -> float:
        """What the second half of the budget is worth."""
        return float(self.curve[-1] - self.curve[(len(self.curve) - 1) // 2])

    @property
    def epochs(self) -> float:
        """Epochs of the search of a trial, mean over the trials."""
        return float(np.mean([log.epochs for log in self.logs]))

    @property
    def seconds(self) -> float:
        """Wall time of the search of a trial, mean over the trials."""
        return float(np.mean([log.seconds for log in self.logs]))

    @property
    def kept_own(self) -> int:
        """Trials that chose the arm's own numbers."""
        return sum(log.chosen == 0 for log in self.logs)

    @property
    def broken(self) -> int:
        """Configurations whose training broke down, over all trials."""
        return sum(bool(each.cause) for log in self.logs for each in log.tried)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Searched numbers that the arm feels."""
        return tuple(self.logs[0].tried[0].numbers)

    def chosen(self, name: str) -> list[Any]:
        """Return the value of a number that each trial chose."""
        return [log.winner.numbers[name] for log in self.logs]

    def at_edge(self, name: str) -> int:
        """Count the trials that chose a value at an end of the range of a number."""
        search = self.arm.search
        domain = search.space[name] if search else ()
        own = self.logs[0].tried[0].numbers[name]
        return sum(value != own and _on_edge(value, domain) for value in self.chosen(name))


def _on_edge(value: object, domain: SearchRange | tuple[Any, ...]) -> bool:
    """Whether a value lies in the outer part of a range, or is an end of a list of numbers."""
    single = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(domain, SearchRange):
        if not isinstance(single, int | float):
            return False
        ends = np.array([domain.low, single, domain.high], dtype=np.float64)
        low, at, high = np.log(ends) if domain.scale == "log" else ends
        return not EDGE <= (at - low) / (high - low) <= 1 - EDGE
    known = [to_plain(each) for each in domain]
    ordered = all(isinstance(each, int | float) for each in known) and len(known) >= FINE
    return ordered and value in (min(known), max(known))


@dataclass(frozen=True)
class Crossing:
    """Two arms whose order at the full budget is not that of their own numbers.

    Attributes
    ----------
    ahead, behind : ArmSearch
        As they stand at the full budget.
    before, after : float
        Difference of their validation values with their own numbers, and at the full budget.
    """

    ahead: ArmSearch
    behind: ArmSearch
    before: float
    after: float


def find_crossings(arms: Sequence[ArmSearch]) -> Iterator[Crossing]:
    """Yield the pairs of arms of one fraction that the search turns around."""
    for one, other in combinations(arms, 2):
        if one.arm.fraction != other.arm.fraction:
            continue
        ahead, behind = (one, other) if one.curve[-1] >= other.curve[-1] else (other, one)
        before, after = (float(ahead.curve[n] - behind.curve[n]) for n in (0, -1))
        if before < 0 < after:
            yield Crossing(ahead, behind, before, after)
