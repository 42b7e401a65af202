"""Designs of a grid block against their definitions, and the messages for wrong ones."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.config.loading import check_study
from study.config.study import StudySpec
from study.errors import InputError
from study.planning.plan import make_plan

PAIR = ["graph", "mordred"]
MODALITIES = {
    "graph_random": {"modality": "graph", "encoder": "gin"},
    "counts": {"modality": "fingerprint"},
}


def study(*grid, **keys):
    raw = {"name": "mine", "data": "starter", "grid": list(grid), "modalities": MODALITIES}
    return check_study({**raw, **keys}, "x")


def arms(*grid, **keys):
    """Return every arm as text, with its dropout."""
    return [f"{arm} {arm.training.dropout:g}" for arm in make_plan(study(*grid, **keys)).arms]


AXES = {
    "features": [PAIR, ["counts", "mordred"]],
    "fusion": ["concat", "product", "parallel"],
    "training": {"dropout": [0.5, 0.1, 0.2]},
}


def test_factorial_is_every_combination():
    sets = ["graph+mordred", "counts+mordred"]
    assert arms(AXES) == [
        f"{names} / mlp_head / {fusion} / 1 {dropout}"
        for names, fusion, dropout in product(sets, AXES["fusion"], [0.5, 0.1, 0.2])
    ]


def test_one_at_a_time_changes_the_base_once_per_arm():
    one_at_a_time = arms({**AXES, "design": "one_at_a_time"})
    base = "graph+mordred / mlp_head / concat / 1 0.5"
    assert one_at_a_time == [
        base,
        "counts+mordred / mlp_head / concat / 1 0.5",
        "graph+mordred / mlp_head / product / 1 0.5",
        "graph+mordred / mlp_head / parallel / 1 0.5",
        "graph+mordred / mlp_head / concat / 1 0.1",
        "graph+mordred / mlp_head / concat / 1 0.2",
    ]
    assert set(one_at_a_time) <= set(arms(AXES))


def test_leave_one_out_removes_each_modality_and_component():
    block = {
        "design": "leave_one_out",
        "features": [["graph", "mordred", "smiles"]],
        "technique": ["label_balancer"],
        "without": {
            "pretraining": {"graph": "graph_random"},
            "balancer": {"technique": "mlp_head", "fusion": {"operator": "concat"}},
            "partition": {"partition": "density"},
            "dropout": {"dropout": 0.0},
        },
    }
    assert arms(block) == [
        "graph+mordred+smiles / label_balancer / random_per_batch / 1 0.5",
        "mordred+smiles / label_balancer / random_per_batch / 1 0.5",
        "graph+smiles / label_balancer / random_per_batch / 1 0.5",
        "graph+mordred / label_balancer / random_per_batch / 1 0.5",
        "graph_random+mordred+smiles / label_balancer / random_per_batch / 1 0.5",
        "graph+mordred+smiles / mlp_head / concat / 1 0.5",
        "graph+mordred+smiles / label_balancer / density / 1 0.5",
        "graph+mordred+smiles / label_balancer / random_per_batch / 1 0",
    ]


def test_zipped_axes_advance_together_and_short_ones_stay():
    block = {
        "design": "zipped",
        "features": [PAIR],
        "fusion": ["concat", "product"],
        "training": {"dropout": [0.1, 0.2]},
    }
    assert arms(block) == [
        "graph+mordred / mlp_head / concat / 1 0.1",
        "graph+mordred / mlp_head / product / 1 0.2",
    ]


def test_a_conditional_axis_stays_at_its_first_value_elsewhere():
    block = {
        "features": [["mordred"], PAIR],
        "technique": ["mlp_head", "label_balancer"],
        "training": {"dropout": [0.5, 0.1]},
        "when": {"dropout": {"technique": "label_balancer", "features": "graph"}},
    }
    assert arms(block) == [
        "mordred / single / 1 0.5",
        "graph+mordred / mlp_head / concat / 1 0.5",
        "graph+mordred / label_balancer / random_per_batch / 1 0.5",
        "graph+mordred / label_balancer / random_per_batch / 1 0.1",
    ]


def test_listed_arms_equal_arms_of_axes():
    listed = {
        "arms": [
            {"features": PAIR, "fusion": "product"},
            {"features": PAIR, "technique": "label_balancer", "partition": "density"},
            {"features": ["mordred"], "training": {"dropout": 0.1}},
        ]
    }
    by_axes = [
        {"features": [PAIR], "fusion": ["product"]},
        {"features": [PAIR], "technique": ["label_balancer"], "partition": ["density"]},
        {"features": [["mordred"]], "training": {"dropout": [0.1]}},
    ]
    ours, theirs = make_plan(study(listed)).arms, make_plan(study(*by_axes)).arms
    assert [arm.id for arm in ours] == [arm.id for arm in theirs]


def test_widths_change_a_head_but_not_its_reference():
    listed = [{"features": PAIR}, {"features": PAIR, "fusion": "product", "widths": [77]}]
    head, wide = make_plan(study({"arms": listed})).arms
    assert wide.training.hidden == (77,)
    assert wide.comparable_training == head.training
    plain = make_plan(study({"features": [PAIR], "fusion": ["product"]})).arms[0]
    assert wide.id != plain.id
    own = {"features": [PAIR], "fusion": ["product"], "training": {"hidden": [[77]]}}
    assert wide.id == make_plan(study(own)).arms[0].id


@pytest.mark.parametrize("design", ["factorial", "one_at_a_time"])
def test_every_design_survives_its_own_file(design):
    block = {
        **AXES,
        "design": design,
        "when": {"dropout": {"features": ["graph"]}},
    }
    left_out = {
        "design": "leave_one_out",
        "features": [PAIR],
        "without": {"operator": {"fusion": {"operator": "parallel", "stage": "logit"}}},
    }
    spec = study(block, left_out, {"arms": [{"features": PAIR, "widths": [3]}]})
    again = StudySpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert [c.id for c in make_plan(again).arms] == [c.id for c in make_plan(spec).arms]


@given(
    fusion=st.lists(st.sampled_from(["concat", "product", "parallel"]), min_size=1, unique=True),
    dropout=st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, unique=True),
)
def test_one_at_a_time_has_one_arm_per_further_value(fusion, dropout):
    block = {"features": [PAIR], "fusion": fusion, "training": {"dropout": dropout}}
    plan = make_plan(study({**block, "design": "one_at_a_time"}))
    assert plan.combinations == len(plan.arms) == 1 + len(fusion) - 1 + len(dropout) - 1


ONE_OUT = {"design": "leave_one_out", "features": [PAIR]}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"features": [PAIR], "design": "factorail"}, "grid.0.design: input should be 'factorial'"),
        (
            {
                "features": [PAIR, ["mordred"]],
                "design": "zipped",
                "training": {"dropout": [0.1] * 3},
            },
            "grid.0: zipped axes advance together and need the same number of values (or one "
            "value): features 2, dropout 3",
        ),
        (
            {**ONE_OUT, "fusion": ["concat", "product"]},
            "grid.0: leave_one_out has one base, so every axis must have one value; several: ",
        ),
        (
            {**ONE_OUT, "without": {"pretraining": {"grap": "graph_random"}}},
            "grid.0: without 'pretraining': 'grap' is not part of the base; allowed: graph, mo",
        ),
        (
            {**ONE_OUT, "without": {"scaling": {"mordred": "mordred_raw"}}},
            "grid.0.without: unknown modality 'mordred_raw'",
        ),
        (
            {**ONE_OUT, "without": {"scaling": {"mordred": "mordred"}}},
            "grid.0: without 'scaling': the base would not change",
        ),
        (
            {**ONE_OUT, "without": {"head": {"technique": "mlp"}}},
            "grid.0.without: without 'head': 'technique' cannot be 'mlp': Input should be",
        ),
        (
            {"features": [PAIR], "without": {"head": {"technique": "single"}}},
            "grid.0: 'without' is for the design leave_one_out, not factorial",
        ),
        (
            {**ONE_OUT, "when": {"fusion": {"technique": "mlp_head"}}},
            "grid.0: 'when' is for the designs factorial and one_at_a_time, not leave_one_out",
        ),
        (
            {"features": [PAIR], "when": {"dropout": {"technique": "mlp_head"}}},
            "grid.0: 'when' names the axis 'dropout', which does not vary in this block",
        ),
        (
            {"features": [PAIR], "when": {"dropout": {"techniques": "mlp_head"}}},
            "grid.0.when.dropout.techniques: unknown key; did you mean 'technique'? allowed: tech",
        ),
        (
            {"features": [PAIR], "arms": [{"features": PAIR}]},
            "grid.0.features: a block has either 'arms' or axes",
        ),
        (
            {"arms": [{"features": PAIR}], "fusion": ["product"]},
            "grid.0: a block with 'arms' has no 'fusion'; set it in the arms",
        ),
        ({"arms": [{"technique": "mlp_head"}]}, "grid.0.arms.0.features: is missing"),
        (
            {"arms": [{"features": PAIR, "techniqe": "mlp_head"}]},
            "grid.0.arms.0.techniqe: unknown key; did you mean 'technique'? allowed: features, ",
        ),
        (
            {"arms": [{"features": ["mordrd"]}]},
            "grid.0.arms.0.features: unknown modality 'mordrd'; did you mean 'mordred'?",
        ),
        (
            {"arms": [{"features": PAIR, "partition": "density"}]},
            "grid.0.arms.0: a label partition (density) needs the technique 'label_balancer'",
        ),
        (
            {"arms": [{"features": PAIR, "training": {"dropout": 2}}]},
            "grid.0.arms.0.training: 'dropout' cannot be 2: Input should be less than 1",
        ),
        ({"arms": [{"features": PAIR, "widths": []}]}, "grid.0.arms.0.widths: must name at least"),
    ],
)
def test_the_message_for_a_wrong_design_has_its_place(block, message):
    with pytest.raises(InputError) as error:
        study(block)
    count, line = str(error.value).split("\n  ")
    assert count == "x: 1 mistake; nothing was run"
    assert line.startswith(message)
