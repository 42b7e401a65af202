"""A listener for work whose outcomes alone matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from study.executor import Listener, Outcome


@dataclass(frozen=True)
class Outcomes(Listener):
    """A listener to outcomes alone, which lets everything run to its end.

    Attributes
    ----------
    take : function
        Told of each outcome.
    lost : function
        Whether the work is another process's by now, so that everything is left.
    """

    take: Callable[[Outcome], None]
    lost: Callable[[], bool] = lambda: False

    @property
    def stopping(self) -> bool:
        """Whether the work was lost."""
        return self.lost()

    @property
    def hurried(self) -> bool:
        """Whether the work was lost."""
        return self.lost()

    def ended(self, outcome: Outcome) -> None:
        """Pass the outcome on."""
        self.take(outcome)
