"""Sampling: seeded, each configuration once, the same for all arms of a fold, within ranges."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest

from study.config.search import SearchConfig
from study.config.training import TrainingConfig
from study.training.search.sampling import ConfigurationSampler, apply_values

SPACE = {
    "learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"},
    "encoder_learning_rate": {"low": 1e-5, "high": 1e-3},
    "batch_size": {"low": 16, "high": 17},
    "hidden": {"low": 4, "high": 64, "scale": "log"},
    "patience": [3, 5],
    "top_layers": {"low": 1, "high": 3},
}
OWN = TrainingConfig()


def draws(seed=0, effective=tuple(SPACE), **changed):
    return ConfigurationSampler(
        SearchConfig(**{"budget": 40, "space": SPACE, **changed}), OWN, effective, seed
    )


def test_samples_depend_on_the_seed_alone():
    assert draws().ask_many(40) == draws().ask_many(40)
    assert draws(1).ask_many(40)[1:] != draws().ask_many(40)[1:]
    assert draws(seed=0, **{"method": "asha"}).ask_many(9) == draws().ask_many(9)


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_samples_are_the_same_in_another_process(method):
    code = (
        "import json; from test_search_draws import draws;"
        f"print(json.dumps(draws(method={method!r}).ask_many(12)))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == draws(method=method).ask_many(12)


def test_optuna_logs_nothing_and_keeps_its_verbosity():
    records, before = [], optuna.logging.get_verbosity()
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("optuna")
    logger.addHandler(handler)
    try:
        draws(method="tpe").ask_many(15)
        assert records == []
        assert optuna.logging.get_verbosity() == before
        optuna.create_study()  # the control: it announces a study
        assert len(records) == 1
    finally:
        logger.removeHandler(handler)


def test_the_first_configuration_is_the_arms_own():
    first = draws().ask_many(2)[0]
    assert first["hidden"] == [256]
    assert apply_values(first, OWN) == OWN


def test_samples_cover_the_space_and_stay_inside():
    configs = [apply_values(values, OWN) for values in draws().ask_many(400)[1:]]
    rates = np.log10([config.learning_rate for config in configs])
    assert -4 <= rates.min() < -3.9
    assert -2.1 < rates.max() <= -2
    assert np.median(rates) == pytest.approx(-3, abs=0.15)
    assert {config.batch_size for config in configs} == {16, 17}
    assert {config.patience for config in configs} == {3, 5}
    assert {config.top_layers for config in configs} == {1, 2, 3}
    widths = {config.hidden for config in configs}
    assert all(len(width) == 1 and 4 <= width[0] <= 64 for width in widths)
    assert {(4,), (5,)} <= widths


@pytest.mark.parametrize(("method", "count"), [("random", 20), ("tpe", 10)])
def test_arms_get_the_same_values_of_shared_hyperparameters(method, count):
    """TPE too, as long as it samples at random."""
    effective = {"learning_rate", "batch_size"}
    joint, frozen = draws(method=method), draws(effective=effective, method=method)
    assert frozen.first.keys() == effective
    for one, other in zip(joint.ask_many(count), frozen.ask_many(count), strict=True):
        assert other == {name: one[name] for name in other}


def test_a_small_space_is_exhausted_without_repetition():
    pair = {"patience": [3, 5], "batch_size": [16, 32]}
    search = SearchConfig(budget=4, space=pair)
    sampled = ConfigurationSampler(search, OWN, pair, 0).ask_many(9)
    assert len(sampled) == 5  # the four of the space and the arm's own
    assert len({str(values) for values in sampled}) == 5
    sampled = ConfigurationSampler(search, OWN, {"patience"}, 0).ask_many(4)
    assert sorted(values["patience"] for values in sampled) == [3, 5, OWN.patience]
    assert ConfigurationSampler(search, OWN, (), 0).ask_many(4) == [{}]
