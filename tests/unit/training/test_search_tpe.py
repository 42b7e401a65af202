"""TPE: the suggestions of Ray Tune's wrapper of the same sampler, and no configuration twice."""

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
    """Return a trainer that scores candidates by `worth` instead of training them."""

    def train(candidates, epochs):
        return [
            ValidationScore((), finished=False, cause="broken")
            if c.index in broken
            else ValidationScore(
                (worth(c.training.model_dump(mode="json", include=set(SPACE))),), True
            )
            for c in candidates
        ]

    return train


@pytest.mark.parametrize("broken", [(), (3, 14)])
def test_suggestions_equal_those_of_ray_tunes_wrapper(broken):
    made = task()
    tried = run_search(made, trainer(broken))
    distributions = {name: to_distribution(name, d) for name, d in made.search.space.items()}
    wrapper = OptunaSearch(
        space=distributions,
        metric="value",
        mode="max",
        seed=sampler_seed(made.search.seed, TRIAL_SEED),
        points_to_evaluate=[encode(tried[0].numbers, made.search.space)],
        evaluated_rewards=[tried[0].value],
    )
    assert len(tried) == 25
    for index, candidate in enumerate(tried[1:], start=1):
        assert wrapper.suggest(str(index)) == encode(candidate.numbers, made.search.space)
        result = None if index in broken else {"value": candidate.value}
        wrapper.on_trial_complete(str(index), result, error=index in broken)


def test_an_own_configuration_outside_the_space_is_tried():
    tried = run_search(task(space={"dropout": {"low": 0.0, "high": 0.3}}), trainer())
    assert tried[0].numbers == {"dropout": OWN.dropout}
    assert len(tried) == 25
    assert all(candidate.numbers["dropout"] <= 0.3 for candidate in tried[1:])


def test_a_small_space_is_tried_completely_without_repetition():
    pairs = {"patience": [2, 3, 4, 5], "batch_size": [16, 32, 64]}
    tried = run_search(task(space=pairs, budget=12), trainer())
    assert len(tried) == 12
    assert len({configuration_key(candidate.numbers) for candidate in tried}) == 12


def test_the_search_finds_the_optimum():
    best = max(candidate.value for candidate in run_search(task(budget=60), trainer()))
    assert best > 5 * worth({})
    assert best > -0.05
