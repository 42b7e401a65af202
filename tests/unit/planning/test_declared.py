"""Declared contrasts: which pairs a file asks for, and which it leaves out."""

import pytest

from study.config.loading import check_study
from study.errors import InputError
from study.planning.contrasts import (
    build_contrasts,
    build_default_contrasts,
    count_models,
    declare_contrasts,
)
from study.planning.plan import make_plan

PAIR = ["counts", "mordred"]
GRID = [
    {"features": [["counts"], ["mordred"], ["graph"], ["graph_gin"]]},
    {
        "features": [PAIR],
        "technique": ["mlp_head", "label_balancer", "independent_mean"],
        "fusion": [{"operator": "concat", "stage": "latent"}, "product"],
        "partition": ["random_per_batch", "density"],
    },
]


def declared(*contrasts, grid=GRID, **keys):
    raw = {
        "name": "mine",
        "data": "starter",
        "modalities": {
            "counts": {"modality": "fingerprint"},
            "graph_gin": {"modality": "graph", "encoder": "gin"},
        },
        "grid": grid,
        **keys,
    }
    spec = check_study({**raw, "contrasts": list(contrasts)} if contrasts else raw, "x")
    plan = make_plan(spec)
    return declare_contrasts(spec, plan), plan, spec


def names(contrasts):
    return [f"{c.family}: {c}" for c in contrasts]


HEAD = "counts+mordred / mlp_head / concat(stage=latent) / 1"
BALANCER = "counts+mordred / label_balancer / random_per_batch / 1"
MEAN = "counts+mordred / independent_mean / 1"


def test_an_ensemble_is_what_averages_several_models_for_a_label():
    _, plan, _ = declared()
    sizes = {str(arm): count_models(arm) for arm in plan.arms}
    assert {name: size for name, size in sizes.items() if size > 1} == {BALANCER: 2, MEAN: 2}
    assert sizes["counts+mordred / label_balancer / density / 1"] == 1


def test_without_the_section_the_default_families_less_unequal_ensembles():
    found, plan, spec = declared()
    default = build_default_contrasts(plan.arms)
    assert sorted(names(found.contrasts + found.unequal)) == sorted(names(default))
    assert all(count_models(c.arm) == count_models(c.reference) for c in found.contrasts)
    assert f"technique: {BALANCER} against {HEAD}" in names(found.unequal)
    assert f"control: {BALANCER} against {MEAN}" in names(found.contrasts)
    anything, _, _ = declared(analysis={"ensembles": "any"})
    assert (names(anything.contrasts), anything.unequal) == (names(default), ())
    assert build_contrasts(spec, plan) == found.contrasts


def test_a_default_family_by_its_word():
    found, plan, _ = declared("modality", "control", analysis={"ensembles": "any"})
    default = names(build_default_contrasts(plan.arms))
    wanted = [[n for n in default if n.startswith(family)] for family in ("modality", "control")]
    assert names(found.contrasts) == wanted[0] + wanted[1]
    assert all(wanted)


def test_two_sides_pair_what_agrees_in_everything_they_do_not_name():
    grid = [
        {
            "features": [["graph"], ["graph_gin"], ["graph", "mordred"], ["graph_gin", "mordred"]],
            "fusion": ["concat", "product"],
        }
    ]
    sides = {"arm": {"features": "graph_gin"}, "reference": {"features": "graph"}}
    found, _, _ = declared({"family": "network", **sides}, grid=grid, fractions=[0.5, 1.0])
    assert names(found.contrasts) == [
        f"network: graph_gin / single / {fraction} against graph / single / {fraction}"
        for fraction in ("0.5", "1")
    ]
    sides = {"arm": {"features": ["mordred", "graph_gin"]}, "reference": {"features": "graph"}}
    wide = {"family": "network", **sides}
    wide["reference"] = {"features": "graph+mordred", "fusion": "product"}
    wide["arm"]["fusion"] = "product"
    found, _, _ = declared(wide, grid=grid)
    assert len(found.contrasts) == 1


def test_a_fraction_may_meet_the_whole():
    few = {
        "family": "quarter",
        "arm": {"features": PAIR, "fraction": 0.25},
        "reference": {"features": "mordred", "fraction": 1},
    }
    grid = [{"features": [["mordred"], PAIR]}]
    found, _, _ = declared(few, grid=grid, fractions=[0.25, 1.0])
    expected = "counts+mordred / mlp_head / concat / 0.25 against mordred / single / 1"
    assert names(found.contrasts) == [f"quarter: {expected}"]


def test_an_operator_is_ignored_where_a_named_technique_has_none():
    asked = {
        "family": "mine",
        "arm": {"technique": "label_balancer", "partition": "random_per_batch"},
        "reference": {"technique": "mlp_head", "fusion": {"operator": "concat", "stage": "latent"}},
    }
    found, _, _ = declared(asked, analysis={"ensembles": "any"})
    assert names(found.contrasts) == [f"mine: {BALANCER} against {HEAD}"]


def test_arms_of_other_training_numbers_are_not_paired():
    grid = [{"features": [["mordred"], ["graph"]], "training": {"dropout": [0.1, 0.2]}}]
    asked = {"family": "m", "arm": {"features": "mordred"}, "reference": {"features": "graph"}}
    found, _, _ = declared(asked, grid=grid)
    pairs = [(c.arm.training.dropout, c.reference.training.dropout) for c in found.contrasts]
    assert pairs == [(0.1, 0.1), (0.2, 0.2)]


@pytest.mark.parametrize(
    ("contrasts", "message"),
    [
        (
            ["technique", {"family": "m", "arm": {"features": "grap"}, "reference": {}}],
            r"contrasts.1: 'm': no arm has features grap; features: counts, counts\+mordred, graph",
        ),
        (
            [
                {
                    "family": "m",
                    "arm": {"technique": "independent_mean"},
                    "reference": {"technique": "mlp_head"},
                }
            ],
            "contrasts.0: 'm' compares ensembles with ensembles of another size only .* 2 models",
        ),
    ],
)
def test_a_contrast_that_finds_nothing_is_named(contrasts, message):
    with pytest.raises(InputError, match=message):
        declared(*contrasts)


def test_a_family_without_pairs_is_named():
    with pytest.raises(InputError, match=r"contrasts.0: 'control' .* finds no pair among the arms"):
        declared("control", grid=[{"features": [PAIR]}])


def test_sides_that_never_agree_in_the_rest_are_named():
    blocks = {"mordred": 0.1, "graph": 0.2}
    grid = [{"features": [[n]], "training": {"dropout": [d]}} for n, d in blocks.items()]
    asked = {"family": "m", "arm": {"features": "mordred"}, "reference": {"features": "graph"}}
    with pytest.raises(InputError, match=r"agrees with a reference .* in everything but features"):
        declared(asked, grid=grid)
