"""Draws: seeded, each configuration once, the same for all arms of a fold, inside their ranges."""

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


def draws(seed=0, felt=tuple(SPACE), **changed):
    return ConfigurationSampler(
        SearchConfig(**{"budget": 40, "space": SPACE, **changed}), OWN, felt, seed
    )


def test_the_same_seed_draws_the_same_and_another_does_not():
    assert draws().several(40) == draws().several(40)
    assert draws(1).several(40)[1:] != draws().several(40)[1:]
    assert draws(seed=0, **{"method": "asha"}).several(9) == draws().several(9)


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_another_process_draws_the_same(method):
    code = (
        "import json; from test_search_draws import draws;"
        f"print(json.dumps(draws(method={method!r}).several(12)))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == draws(method=method).several(12)


def test_optuna_announces_nothing_and_keeps_the_callers_verbosity():
    records, before = [], optuna.logging.get_verbosity()
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("optuna")
    logger.addHandler(handler)
    try:
        draws(method="tpe").several(15)
        assert records == []
        assert optuna.logging.get_verbosity() == before
        optuna.create_study()  # the control: it announces a study
        assert len(records) == 1
    finally:
        logger.removeHandler(handler)


def test_the_first_configuration_is_the_arms_own():
    first = draws().several(2)[0]
    assert first["hidden"] == [256]
    assert apply_values(first, OWN) == OWN


def test_draws_lie_in_the_space_and_reach_all_of_it():
    found = [apply_values(each, OWN) for each in draws().several(400)[1:]]
    rates = np.log10([each.learning_rate for each in found])
    assert -4 <= rates.min() < -3.9
    assert -2.1 < rates.max() <= -2
    assert np.median(rates) == pytest.approx(-3, abs=0.15)
    assert {each.batch_size for each in found} == {16, 17}
    assert {each.patience for each in found} == {3, 5}
    assert {each.top_layers for each in found} == {1, 2, 3}
    widths = {each.hidden for each in found}
    assert all(len(width) == 1 and 4 <= width[0] <= 64 for width in widths)
    assert {(4,), (5,)} <= widths


@pytest.mark.parametrize(("method", "count"), [("random", 20), ("tpe", 10)])
def test_arms_that_feel_other_numbers_meet_the_same_values(method, count):
    """TPE too, as long as it draws at random."""
    felt = {"learning_rate", "batch_size"}
    joint, frozen = draws(method=method), draws(felt=felt, method=method)
    assert frozen.first.keys() == felt
    for one, other in zip(joint.several(count), frozen.several(count), strict=True):
        assert other == {name: one[name] for name in other}


def test_a_small_space_is_drawn_without_repetition_until_it_is_used_up():
    pair = {"patience": [3, 5], "batch_size": [16, 32]}
    found = ConfigurationSampler(SearchConfig(budget=4, space=pair), OWN, pair, 0).several(9)
    assert len(found) == 5  # the four of the space and the arm's own
    assert len({str(each) for each in found}) == 5
    felt = ConfigurationSampler(SearchConfig(budget=4, space=pair), OWN, {"patience"}, 0).several(4)
    assert sorted(each["patience"] for each in felt) == [3, 5, OWN.patience]
    assert ConfigurationSampler(SearchConfig(budget=4, space=pair), OWN, (), 0).several(4) == [{}]
