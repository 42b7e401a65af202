"""One count of all fuzz cases, printed at the end of the run."""

from __future__ import annotations

import pytest
from fuzz_words import Cases

_CASES = pytest.StashKey[Cases]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_CASES] = Cases()


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> Cases:
    return request.config.stash.setdefault(_CASES, Cases())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    found = terminalreporter.config.stash.get(_CASES, Cases())
    if found.total:
        terminalreporter.section(f"fuzzing: {found.total:,} cases")
        for line in found.lines():
            terminalreporter.write_line(line)
