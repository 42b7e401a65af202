"""One count of all fuzz cases, printed at the end of the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_words import Cases

_CASES = pytest.StashKey[Cases]()


HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # they are counted together
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("fuzz"))


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
