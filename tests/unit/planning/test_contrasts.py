"""Declared contrasts: which pairs of arms a file compares, and which are left out."""

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


def test_an_ensemble_averages_several_models_per_label():
    _, plan, _ = declared()
    sizes = {str(arm): count_models(arm) for arm in plan.arms}
    assert {name: size for name, size in sizes.items() if size > 1} == {BALANCER: 2, MEAN: 2}
    assert sizes["counts+mordred / label_balancer / density / 1"] == 1


def test_default_families_leave_out_unequal_ensembles():
    declared_contrasts, plan, spec = declared()
    default = build_default_contrasts(plan.arms)
    assert sorted(names(declared_contrasts.contrasts + declared_contrasts.unequal)) == sorted(
        names(default)
    )
    assert all(
        count_models(c.arm) == count_models(c.reference) for c in declared_contrasts.contrasts
    )
    assert f"technique: {BALANCER} against {HEAD}" in names(declared_contrasts.unequal)
    assert f"control: {BALANCER} against {MEAN}" in names(declared_contrasts.contrasts)
    anything, _, _ = declared(analysis={"ensembles": "any"})
    assert (names(anything.contrasts), anything.unequal) == (names(default), ())
    assert build_contrasts(spec, plan) == declared_contrasts.contrasts


def test_a_default_family_by_its_name():
    declared_contrasts, plan, _ = declared("modality", "control", analysis={"ensembles": "any"})
    default = names(build_default_contrasts(plan.arms))
    wanted = [[n for n in default if n.startswith(family)] for family in ("modality", "control")]
    assert names(declared_contrasts.contrasts) == wanted[0] + wanted[1]
    assert all(wanted)


def test_pairs_agree_in_every_column_not_set():
    grid = [
        {
            "features": [["graph"], ["graph_gin"], ["graph", "mordred"], ["graph_gin", "mordred"]],
            "fusion": ["concat", "product"],
        }
    ]
    sides = {"arm": {"features": "graph_gin"}, "reference": {"features": "graph"}}
    declared_contrasts, _, _ = declared(
        {"family": "network", **sides}, grid=grid, fractions=[0.5, 1.0]
    )
    assert names(declared_contrasts.contrasts) == [
        f"network: graph_gin / single / {fraction} against graph / single / {fraction}"
        for fraction in ("0.5", "1")
    ]
    sides = {"arm": {"features": ["mordred", "graph_gin"]}, "reference": {"features": "graph"}}
    wide = {"family": "network", **sides}
    wide["reference"] = {"features": "graph+mordred", "fusion": "product"}
    wide["arm"]["fusion"] = "product"
    declared_contrasts, _, _ = declared(wide, grid=grid)
    assert len(declared_contrasts.contrasts) == 1


def test_fractions_can_be_compared():
    few = {
        "family": "quarter",
        "arm": {"features": PAIR, "fraction": 0.25},
        "reference": {"features": "mordred", "fraction": 1},
    }
    grid = [{"features": [["mordred"], PAIR]}]
    declared_contrasts, _, _ = declared(few, grid=grid, fractions=[0.25, 1.0])
    expected = "counts+mordred / mlp_head / concat / 0.25 against mordred / single / 1"
    assert names(declared_contrasts.contrasts) == [f"quarter: {expected}"]


def test_an_operator_is_ignored_if_a_technique_has_none():
    config = {
        "family": "mine",
        "arm": {"technique": "label_balancer", "partition": "random_per_batch"},
        "reference": {"technique": "mlp_head", "fusion": {"operator": "concat", "stage": "latent"}},
    }
    declared_contrasts, _, _ = declared(config, analysis={"ensembles": "any"})
    assert names(declared_contrasts.contrasts) == [f"mine: {BALANCER} against {HEAD}"]


def test_arms_with_other_training_settings_are_not_paired():
    grid = [{"features": [["mordred"], ["graph"]], "training": {"dropout": [0.1, 0.2]}}]
    config = {"family": "m", "arm": {"features": "mordred"}, "reference": {"features": "graph"}}
    declared_contrasts, _, _ = declared(config, grid=grid)
    pairs = [
        (c.arm.training.dropout, c.reference.training.dropout) for c in declared_contrasts.contrasts
    ]
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
            "contrasts.0: 'm' compares only ensembles of different sizes .* 2 models",
        ),
    ],
)
def test_a_contrast_without_arms_is_refused(contrasts, message):
    with pytest.raises(InputError, match=message):
        declared(*contrasts)


def test_a_family_without_pairs_is_refused():
    with pytest.raises(InputError, match=r"contrasts.0: 'control' .* matches no pair of arms"):
        declared("control", grid=[{"features": [PAIR]}])


def test_sides_that_never_agree_are_refused():
    blocks = {"mordred": 0.1, "graph": 0.2}
    grid = [{"features": [[n]], "training": {"dropout": [d]}} for n, d in blocks.items()]
    config = {"family": "m", "arm": {"features": "mordred"}, "reference": {"features": "graph"}}
    with pytest.raises(InputError, match=r"agrees with a reference .* in everything but features"):
        declared(config, grid=grid)
