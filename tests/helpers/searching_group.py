"""What each process of a group does in a test of a search; in a module that a new process finds."""

from __future__ import annotations

import json
from pathlib import Path

from torch import distributed

from study.artifacts.study_data import StudyData
from study.planning.trials import Trial
from study.training.distributed import current_process_group, torch_settings
from study.training.search.trial import run_searched_trial


def search_in_group(rank: int, size: int, folder: Path, study: Path, trial: dict) -> None:
    """Search as one of several replicas; write the log and scores that this process has."""
    store = distributed.FileStore(str(folder / "store"), size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    with torch_settings(1):
        result = run_searched_trial(
            Trial.from_json(trial), StudyData.load(study), current_process_group()
        )
    found = {"log": result.search, "scores": result.scores.tolist()}
    (folder / str(rank)).write_text(json.dumps(found))
    distributed.destroy_process_group()
