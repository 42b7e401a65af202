"""What each process of a group does in a test of a search; in a module that a new process finds."""

from __future__ import annotations

import json
from pathlib import Path

from torch import distributed

from study.artifacts.study_data import Inputs
from study.planning.trials import TrialSpec
from study.training.distributed import here, settled
from study.training.search.trial import run_searched


def search_in_group(rank: int, size: int, folder: Path, study: Path, trial: dict) -> None:
    """Search as one of several replicas; write the log and scores that this process has."""
    store = distributed.FileStore(str(folder / "store"), size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    with settled(1):
        result = run_searched(TrialSpec.from_json(trial), Inputs.load(study), here())
    found = {"log": result.search, "scores": result.scores.tolist()}
    (folder / str(rank)).write_text(json.dumps(found))
    distributed.destroy_process_group()
