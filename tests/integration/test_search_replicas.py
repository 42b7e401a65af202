"""A search whose candidates are trained by two processes: both know and choose the same."""

import json

from searching_group import search_in_group
from torch import multiprocessing

from study.runner.prepare import prepare, write_study_folder


def test_replicas_choose_together(tiny, spec_of, tmp_path):
    tiny["modalities"]["characters"] |= {"calibration": "joint"}
    tiny["grid"] = [{"features": [["counts", "characters"]]}]
    tiny["training"] |= {"workers": 2, "epochs": 3, "epoch_steps": 1}
    rates = {"low": 1e-4, "high": 1e-1, "scale": "log"}
    space = {"learning_rate": rates, "encoder_learning_rate": rates}
    tiny["search"] = {"method": "asha", "budget": 3, "space": space}
    study = prepare(spec_of(tiny, tmp_path / "storage"))
    write_study_folder(study)
    for feature in study.plan.arms[0].features:
        study.data.features(feature.config)
    trial = next(iter(study.plan.trials())).to_json()
    multiprocessing.spawn(search_in_group, (2, tmp_path, study.folder, trial), nprocs=2)
    one, other = (json.loads((tmp_path / str(rank)).read_text()) for rank in range(2))
    for log in (one["log"], other["log"]):
        log.pop("seconds")
        assert len(log["tried"][0]["monitored"]) == 3
    assert one["log"] == other["log"]
    assert one["scores"] == other["scores"]
    assert one["log"]["tried"][0]["numbers"].keys() == space.keys()
