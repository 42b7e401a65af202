"""What every fuzz test uses: the rule, the time a case may take, the settings, odd values."""

from __future__ import annotations

import copy
import datetime
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from fusion import FusionError
from modalities import ModalityError
from study.errors import StudyError
from study.plugins.registry import FAMILIES, Registry

SEED, TIMES = os.environ.get("FUZZ_SEED"), float(os.environ.get("FUZZ_TIMES", "0.03"))
"""Another seed than the fixed one of the suite (a number); of 10,000 cases the part that runs."""
SECONDS = 60.0
"""What a case may take: thousands of times what it does take, so only a hang takes longer."""
LONGEST = 20_000
"""Characters of a message: more is the input said again, not what is wrong with it."""
NAMED = (StudyError, ModalityError, FusionError)
T = TypeVar("T")


class Hang(BaseException):
    """A case did not end in time; no code under test may catch it."""


def fuzzed(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test on so many cases: the same ones each time, or those of ``FUZZ_SEED``."""
    chosen = settings(
        max_examples=round(examples * TIMES),
        database=None,
        deadline=None,  # `outcome` has one that also ends what never returns
        derandomize=SEED is None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[*HealthCheck],
    )

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return chosen(test if SEED is None else hypothesis.seed(int(SEED))(test))

    return decorate


@contextmanager
def in_time(seconds: float = SECONDS) -> Iterator[None]:
    """Stop what does not end."""

    def stop(*_: object) -> None:
        raise Hang(f"no end after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Cases:
    """Counts cases by place and end, and holds each to the rule."""

    def __init__(self) -> None:
        self.ends: Counter[tuple[str, str]] = Counter()

    def outcome(self, place: str, action: Callable[[], T]) -> T | None:
        """Run one case: its value, or None where it ended in a named error that says something.

        Anything else (another error, no end, code that ran or was imported) goes through.
        """
        said = None
        with in_time():
            try:
                value = action()
            except NAMED as error:
                said = str(error)
        self.ends[place, "value" if said is None else "named error"] += 1
        if said is None:
            return value
        assert said.strip()
        assert "Traceback" not in said
        assert len(said) <= LONGEST
        return None

    @property
    def total(self) -> int:
        return sum(self.ends.values())

    def lines(self) -> list[str]:
        """Say how many cases there were at each place, and how they ended."""
        places = sorted({place for place, _ in self.ends})
        count = {place: [self.ends[place, e] for e in ("value", "named error")] for place in places}
        return [
            f"{place:<28}{sum(n):>7,} cases: {n[0]:,} values, {n[1]:,} named errors"
            for place, n in count.items()
        ]


@cache
def words() -> tuple[str, ...]:
    """Return every word of every vocabulary: values that are right at some place."""
    return tuple(word for family in FAMILIES for word in Registry(family).names())


TEXTS = [
    "", " ", "\0", "a\0b", "\ud800", "\x1b[31m", "é", "\u202e", "\ufeff", "😀" * 3, "x" * 400,
    "${HOME}", "${NO_SUCH_VARIABLE}", "${", "~no-such-user/x", "../../x", "/dev/null", "s3://x/y",
    "no",
    "concat(stage=latent)", "graph+mordred", "mean", "logit", "auroc", "frozen", "joint",
    "finetune", "random", "starter", "union", "butina", "factorial", "zipped", "leave_one_out",
    "one_at_a_time", "single", "label_balancer", "independent_mean", "mlp_head", "features", "word",
    "technique", "options", "modality", "__class__", "self", "1", "1e999", "-1", "nan", "%s{0}",
]  # fmt: skip
NUMBERS = [
    0, 1, 2, 3, -1, 5, 100, 99_999, 2**31, 2**63, 10**18, 10**400, -(10**400), 0.0, -0.0, 0.5,
    1e-320, 1e308, float("inf"), float("-inf"), float("nan"), True, False, 1.0, 0.1,
]  # fmt: skip
USUAL = [0, 1, 2, 3, 5, 10, 0.1, 0.25, 0.5, 1.0]
OTHERS = [None, [], {}, b"\xff\x00", datetime.date(2001, 1, 1), {1, "a"}, [[]], {"": None}, [None]]
scalars = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.sampled_from(words()), st.none()
)
keys = st.one_of(st.sampled_from(TEXTS), st.sampled_from(words()), st.sampled_from([0, 1.5, None]))
values: st.SearchStrategy[Any] = st.one_of(
    scalars,
    st.sampled_from(OTHERS).map(copy.deepcopy),
    st.lists(scalars, max_size=3),
    st.dictionaries(keys, scalars, max_size=3),
    st.lists(st.dictionaries(keys, st.lists(scalars, max_size=2), max_size=2), max_size=2),
)


def no_code_ran() -> bool:
    """Whether nothing that only a hostile file would ask for was imported or run."""
    return "antigravity" not in sys.modules and "FUZZ_OWNED" not in os.environ
