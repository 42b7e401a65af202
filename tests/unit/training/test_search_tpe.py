"""TPE: what Ray Tune's wrapper of the same sampler would suggest, and no configuration twice."""

import pytest
from ray.tune.search.optuna import OptunaSearch

from study.config.search import SearchConfig
from study.config.training import TrainingConfig
from study.training.search.methods import SearchTask, ValidationScore, run_search
from study.training.search.sampling import (
    apply_values,
    configuration_key,
    encode,
    sampler_seed,
    to_distribution,
)

SPACE = {
    "learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"},
    "dropout": {"low": 0.0, "high": 0.6},
    "hidden": {"low": 8, "high": 512, "scale": "log"},
    "patience": [3, 5, 10],
}
OWN = TrainingConfig()
TRIAL_SEED = 2_000_001


def worth(numbers):
    """A landscape with one hill, away from the arm's own numbers."""
    training = apply_values(numbers, OWN)
    return -abs(training.dropout - 0.2) - abs(training.learning_rate - 5e-4) * 100


def task(**changed):
    search = SearchConfig(**{"method": "tpe", "budget": 25, "space": SPACE, **changed})
    return SearchTask(search, OWN, frozenset(search.space), TRIAL_SEED)


def trainer(broken=()):
    """Nothing is trained: a candidate is worth what the hill says."""

    def train(candidates, epochs):
        return [
            ValidationScore((), finished=False, cause="broken")
            if c.place in broken
            else ValidationScore(
                (worth(c.training.model_dump(mode="json", include=set(SPACE))),), True
            )
            for c in candidates
        ]

    return train


@pytest.mark.parametrize("broken", [(), (3, 14)])
def test_suggestions_are_those_of_the_wrapper_in_ray_tune(broken):
    made = task()
    found = run_search(made, trainer(broken))
    distributions = {name: to_distribution(name, d) for name, d in made.search.space.items()}
    wrapper = OptunaSearch(
        space=distributions,
        metric="value",
        mode="max",
        seed=sampler_seed(made.search.seed, TRIAL_SEED),
        points_to_evaluate=[encode(found[0].numbers, made.search.space)],
        evaluated_rewards=[found[0].value],
    )
    assert len(found) == 25
    for place, tried in enumerate(found[1:], start=1):
        theirs = wrapper.suggest(str(place))
        assert theirs == encode(tried.numbers, made.search.space)
        result = None if place in broken else {"value": tried.value}
        wrapper.on_trial_complete(str(place), result, error=place in broken)


def test_own_numbers_outside_the_space_are_tried_and_not_told():
    found = run_search(task(space={"dropout": {"low": 0.0, "high": 0.3}}), trainer())
    assert found[0].numbers == {"dropout": OWN.dropout}
    assert len(found) == 25
    assert all(each.numbers["dropout"] <= 0.3 for each in found[1:])


def test_a_small_space_is_tried_without_repetition_and_to_its_end():
    pairs = {"patience": [2, 3, 4, 5], "batch_size": [16, 32, 64]}
    found = run_search(task(space=pairs, budget=12), trainer())
    assert len(found) == 12
    assert len({configuration_key(each.numbers) for each in found}) == 12


def test_it_finds_the_hill():
    best = max(each.value for each in run_search(task(budget=60), trainer()))
    assert best > 5 * worth({})
    assert best > -0.05
