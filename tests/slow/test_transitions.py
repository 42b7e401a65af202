"""SIGKILL at every change of a ledger file and of a page: nothing redone, doubled or lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

SCRIPT = Path(__file__).parents[1] / "helpers" / "killing.py"
PARTS = 2  # processes at once
TRIALS, CELLS = 8, 4


@pytest.fixture(scope="module", params=["fresh", "mended"])
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: Path
) -> list[dict[str, Any]]:
    """Every case of a scenario, the whole launch of each process first."""
    folder = tmp_path_factory.mktemp(request.param)
    running = []
    for part in range(PARTS):
        (folder / str(part)).mkdir()
        place = [str(folder / str(part)), str(database), str(part), str(PARTS)]
        command = [sys.executable, str(SCRIPT), request.param, *place]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    told = [json.loads(process.communicate()[0]) for process in running]
    wholes, cases = [each["whole"] for each in told], [c for each in told for c in each["cases"]]
    fewest = min(len(whole["touches"]) for whole in wholes)  # pages go by the clock
    assert set(range(1, fewest + 1)) <= {case["at"] for case in cases}
    return [*wholes, *cases]


def test_every_kill_is_made_good(found: list[dict[str, Any]]) -> None:
    wholes, cases = found[:PARTS], found[PARTS:]
    expected = {
        "again": 0,
        "redone": [],
        "records": TRIALS,
        "failures": 0,
        "table": wholes[0]["table"],
        "pages": {"study FINISHED": 1, "cell FINISHED": CELLS},
    }
    for case in [*wholes, *cases]:
        assert {key: case[key] for key in expected} == expected, _place(case)
    assert all(case["killed"] or case["short"] for case in cases)


def test_the_kills_meet_every_kind_of_change(found: list[dict[str, Any]]) -> None:
    touches = found[0]["touches"]
    assert {"fsync", "replace", "unlink", "log_batch", "set_terminated"} <= set(touches)
    written = touches.count("fsync") / 2  # the file, then its folder
    set_aside = touches.count("replace") - written  # renamed, not written
    assert (touches.count("create_run"), set_aside) in {(1 + CELLS, 0), (0, 1)}


def _place(case: Mapping[str, Any]) -> str:
    return f"killed at change {case['at']}: {case['said']}"
