"""Failed trials as text: one line a cause."""

from __future__ import annotations

from collections.abc import Iterable

from study.ledger import Failure


def failure_lines(failures: Iterable[Failure]) -> list[str]:
    """Return a line for every cause, with the number of its trials and the first of them."""
    by_cause: dict[str, list[str]] = {}
    for failure in sorted(failures, key=lambda failure: failure.trial):
        by_cause.setdefault(failure.cause, []).append(failure.trial)
    return [
        f"failed: {len(trials)} trials, the first {trials[0]}: {cause}"
        for cause, trials in by_cause.items()
    ]
