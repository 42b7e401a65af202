"""How many cases there were: the promise is made for at least ten thousand."""

import pytest
from fuzz_words import TIMES

PARTS = {
    "test_fuzz_command_line",
    "test_fuzz_ledger",
    "test_fuzz_study_files",
    "test_fuzz_tables",
}
LEAST = round(10_000 * min(TIMES, 1))


def test_at_least_ten_thousand_cases_ran(request, cases):
    """Stands last in the folder; where only a part of the folder was asked for, it says so."""
    ran = {item.path.stem for item in request.session.items}
    if not ran >= PARTS or request.config.option.keyword:
        pytest.skip("only a part of the fuzz tests was asked for")
    assert cases.total >= LEAST, "\n".join(cases.lines())
