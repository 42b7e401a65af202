"""One study, its driver killed at 20 random moments: it ends as if nothing had happened."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest
from killing import STUDY
from launches import Launches, launches

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]

KILLS = 20
LONGEST = 12.0  # seconds that a killed launch ran; the whole one takes about twice as long
TRIALS, CELLS = 40, 4
SEED = 5


@pytest.fixture(scope="module")
def study() -> dict[str, object]:
    """Trials of about half a second, on Ray and with pages."""
    training = {"epochs": 60, "patience": 60, "epoch_steps": 20, "hidden": [32]}
    return {**STUDY, "seeds": [0, 1, 2, 3, 4], "training": training}


@pytest.fixture
def store_of(
    study: dict[str, object],
    tmp_path: Path,
    database: Path,
    study_command: list[str],
    environment: dict[str, str],
):
    def make(name: str) -> Launches:
        made = launches(study, tmp_path / name, study_command, environment)
        shutil.copy(database, made.store / "mlflow.db")
        return made

    return make


def test_a_study_survives_twenty_kills(store_of, study_command: list[str]) -> None:
    """Half of the kills leave Ray's processes alone, half take them too, as with a machine."""
    killed, whole, chance = store_of("killed"), store_of("whole"), random.Random(SEED)  # noqa: S311 (no secret)
    for kill in range(KILLS):
        before = killed.records()
        process = killed.start()
        time.sleep(chance.uniform(0.3, LONGEST))
        process.kill()
        process.wait()
        if kill % 2:
            killed.sweep()
        after = killed.records()
        assert {name: after.get(name) for name in before} == before  # redone 0, lost 0
    killed.sweep()
    for each in (killed, whole):
        process = each.start()
        assert process.wait(timeout=1200) == 0, each.log.read_text(encoding="utf-8")
    assert len(killed.records()) == TRIALS
    assert killed.pages() == {"study FINISHED": 1, "cell FINISHED": CELLS}
    assert killed.table(study_command) == whole.table(study_command)
