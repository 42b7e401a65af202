"""The section ``search``: its rules, its messages, and its part in identities and costs."""

import copy

import pytest

from study.config.loading import check_study
from study.config.search import SearchConfig
from study.config.training import TrainingConfig
from study.errors import InputError
from study.planning.plan import make_plan
from study.planning.search_budget import build_rungs, count_trainings
from study.planning.trials import Trial

SPACE = {"learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}, "dropout": [0.1, 0.5]}
STUDY = {
    "name": "mine",
    "data": "starter",
    "grid": [
        {
            "features": [["fingerprint", "mordred"]],
            "technique": ["mlp_head", "independent_mean"],
        }
    ],
}


def study(search=None, **keys):
    section = {} if search is None else {"search": search}
    return check_study({**copy.deepcopy(STUDY), **section, **keys}, "x")


def section(**changed):
    return {"budget": 4, "space": SPACE, **changed}


def space(**changed):
    return section(space=changed)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (space(), "search.space: must name at least one"),
        (space(dropot=[0.1, 0.2]), "'dropot' is not a training setting; allowed: batch_size"),
        (space(epochs=[3, 4]), "'epochs' cannot be searched: it is the maximum number of epochs"),
        (space(monitor=["auroc", "loss"]), "'monitor' cannot be searched: it is what configurati"),
        (space(workers=[1, 2]), "'workers' cannot be searched: it is the number of processes"),
        (space(dropout=[0.1]), "'dropout' must list at least two values, each once, not [0.1]"),
        (space(dropout=[0.1, 0.1]), "each once, not [0.1, 0.1]"),
        (space(dropout=[0.1, 1.5]), "'dropout' cannot be 1.5: Input should be less than 1"),
        (space(dropout=0.3), "search.space.dropout: must be a list of values, or a range"),
        (space(dropout={"low": 0.5, "high": 0.5}), "low (0.5) must be below high (0.5)"),
        (space(dropout={"low": 0.5}), "search.space.dropout.high: is missing"),
        (space(dropout={"low": 0, "high": 1}), "'dropout' cannot be 1.0: Input should be less"),
        (space(dropout={"low": 0, "high": 0.5, "scale": "log"}), "low (0) must be above 0"),
        (space(dropout={"low": 0, "high": 0.5, "log": True}), "search.space.dropout.log: unknown"),
        (space(batch_size={"low": 8.5, "high": 64}), "'batch_size' cannot be 8.5"),
        (space(hidden={"low": 0, "high": 64}), "'hidden' cannot be 0.0"),
        (space(hidden=[None, [8]]), "'hidden' cannot be None"),
        (space(hidden=[float("inf"), [8]]), "'hidden' cannot be inf"),
        (section(budget=1), "search.budget: input should be greater than or equal to 2"),
        (section(budget=3, space={"dropout": [0.1, 0.5]}), "the space has 2 configurations, fewer"),
        (section(method="tpe", budget=10), "'tpe' draws its first 10 configurations at random"),
        (section(method="asha", budget=2), "'asha' keeps 1 of 3 configurations: a b"),
        (section(method="grid"), "search.method: input should be 'random', 'tpe' or 'asha'"),
    ],
)
def test_messages_have_the_place_of_a_mistake(search, message):
    with pytest.raises(InputError) as raised:
        study(search)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "block",
    [
        {"features": [["fingerprint"]], "training": {"dropout": [0.1, 0.2]}},
        {"arms": [{"features": ["fingerprint"], "training": {"dropout": 0.1}}]},
    ],
)
def test_a_setting_is_an_axis_or_searched(block):
    with pytest.raises(InputError, match=r"search: dropout: a setting is either set by the"):
        study(section(), grid=[block])


def test_matched_widths_are_not_searched():
    widths = space(hidden={"low": 8, "high": 64})
    with pytest.raises(InputError, match="search: hidden: widths that give arms equal numbers"):
        study(widths, parameters="matched")
    assert study(section(), parameters="matched").search is not None


def test_a_search_is_part_of_the_arm_id():
    plain, searched = make_plan(study()), make_plan(study(section()))
    for one, other in zip(plain.arms, searched.arms, strict=True):
        assert "search" not in one.json_value()
        assert "search" not in one.params()
        assert one.id != other.id
        assert "search" not in Trial(one, 0, 0, 0).to_json()
        trial = Trial(other, 0, 0, 0)
        again = Trial.from_json(trial.to_json())
        assert again == trial
        assert again.arm.id == other.id
    changes = (
        {"seed": 1},
        {"budget": 5},
        {"method": "asha"},
        {"space": {"dropout": [0.1, 0.2, 0.3, 0.4]}},
    )
    ids = {make_plan(study(section(**change))).arms[0].id for change in ({}, *changes)}
    assert len(ids) == 1 + len(changes)


def test_members_of_an_average_search_as_every_arm_does():
    arms = make_plan(study(section())).arms
    assert {arm.technique for arm in arms} == {"mlp_head", "independent_mean", "single"}
    assert all(arm.search == arms[0].search for arm in arms)


def test_a_plan_counts_every_fit():
    plan = make_plan(study(section()))
    assert plan.averages == 5
    assert plan.fits == 3 * 5 * (4 + 1)  # two members and the head: four configurations, one fit
    assert make_plan(study()).fits == 3 * 5


def test_rungs_drop_two_thirds_each_and_end_with_all_epochs():
    assert [(r.candidates, r.epochs) for r in build_rungs(27, 150)] == [
        (27, 6),
        (9, 17),
        (3, 50),
        (1, 150),
    ]
    assert [(r.candidates, r.epochs) for r in build_rungs(9, 2)] == [(9, 1), (1, 2)]
    assert [(r.candidates, r.epochs) for r in build_rungs(1, 7)] == [(1, 7)]


def test_cost_of_a_search_in_trainings():
    search = {"budget": 27, "space": {"learning_rate": {"low": 1e-4, "high": 1e-2}}}
    assert count_trainings(None, 150) == 1
    assert count_trainings(SearchConfig(**search), 150) == 28
    # 27 to epoch 6, ten on to 17, four on to 50 and two to 150: the arm's own numbers stay in.
    halved = (27 * 6 + 10 * 11 + 4 * 33 + 2 * 100) / 150 + 1
    assert count_trainings(SearchConfig(method="asha", **search), 150) == pytest.approx(halved)


def test_hidden_widths_of_a_space_are_valid():
    assert TrainingConfig.model_validate({"hidden": [8]}).hidden == (8,)
