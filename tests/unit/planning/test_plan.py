"""The plan: combinations, merged duplicates with their reasons, and added members."""

from collections import Counter
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from study.config.loading import check_study
from study.planning.plan import make_plan
from study.preview.cost import estimate_cost
from study.preview.text import format_plan


def study(*grid, **keys):
    return check_study({"name": "mine", "data": "starter", "grid": list(grid), **keys}, "x")


OPERATORS = ["concat", "product", "parallel"]
TECHNIQUES = ["mlp_head", "label_balancer", "independent_mean"]


def test_equal_combinations_are_merged_with_their_reason():
    plan = make_plan(
        study(
            {
                "features": [["mordred"], ["graph", "mordred"]],
                "technique": TECHNIQUES,
                "fusion": OPERATORS,
                "partition": ["density", "round_robin"],
            }
        )
    )
    assert plan.combinations == 2 * 3 * 3 * 2
    assert [str(arm) for arm in plan.arms] == [
        "mordred / single / 1",
        "graph+mordred / mlp_head / concat / 1",
        "graph+mordred / mlp_head / product / 1",
        "graph+mordred / mlp_head / parallel / 1",
        "graph+mordred / label_balancer / density / 1",
        "graph+mordred / label_balancer / round_robin / 1",
        "graph+mordred / independent_mean / 1",
        "graph / single / 1",
    ]
    assert plan.merged == {
        "a single modality makes techniques and operators equal": 18 - 1,
        "the MLP head has no label partition": 6 - 3,
        "the label balancer has no fusion operator": 6 - 2,
        "averaging independent models has no fusion operator or partition": 6 - 1,
    }
    assert plan.combinations - sum(plan.merged.values()) + len(plan.added) == len(plan.arms)


def test_an_arm_listed_twice_is_counted():
    block = {"features": [["graph", "mordred"]], "fusion": ["concat", "product"]}
    again = {"features": [["mordred", "graph"]], "technique": ["mlp_head"]}
    assert make_plan(study(block, again)).merged == {"the file asks for it twice": 1}


def test_an_average_adds_its_missing_members():
    plan = make_plan(
        study(
            {"features": [["mordred"]]},
            {"features": [["graph", "mordred"]], "technique": ["independent_mean"]},
            fractions=[0.5, 1.0],
        )
    )
    assert [str(arm) for arm in plan.added] == ["graph / single / 0.5", "graph / single / 1"]
    members = {m.arm.id for t in plan.trials() for m in t.members()}
    assert members <= {arm.id for arm in plan.arms}
    assert len(members) == 4


def test_counts_of_a_small_grid():
    spec = study(
        {"features": [["graph", "mordred"]], "technique": TECHNIQUES},
        split={"folds": 3, "repeats": 2},
        seeds=[0, 1],
    )
    plan = make_plan(spec)
    cost = estimate_cost(plan)
    assert plan.trials_per_arm == 12
    assert (len(plan.arms), plan.fits) == (5, 48)  # the average trains nothing
    assert (cost.trials, cost.fits) == (60, 48)
    assert cost.jobs == 12  # one fine-tuned graph encoder a fold, repeat and seed
    frozen = study(
        {"features": [["graph", "mordred"]]},
        modalities={"graph": {"calibration": "frozen"}},
        seeds=[0, 1],
    )
    assert estimate_cost(make_plan(frozen)).jobs == 2  # one random encoder a seed


def _trained_graphs(**keys):
    block = {"features": [["graph"], ["graph", "mordred"]]}
    return study(block, modalities={"graph": {"training": {"epochs": 10, **keys}}})


def test_an_encoder_is_counted_once_for_all_arms():
    """4,000 molecules x 10 epochs x 0.4 used = 16 thousand molecules at 1.2 s, in five folds."""
    (seconds,) = estimate_cost(make_plan(_trained_graphs())).by_encoder.values()
    assert seconds == 5 * 16 * 1.2
    (joined,) = estimate_cost(
        make_plan(_trained_graphs(epoch_steps=100, batch_size=80))
    ).by_encoder.values()
    assert joined == 2 * seconds  # an epoch is at least 8,000 molecules: two passes


def test_the_text_has_the_reservations_of_encoders():
    assert "reserves" not in format_plan(_trained_graphs())
    assert "reserves  graph: 2 x 1 CPU for a training" in format_plan(_trained_graphs(workers=2))
    spec = _trained_graphs()
    with_gpu = spec.model_copy(update={"run": spec.run.model_copy(update={"gpus_per_worker": 0.5})})
    assert "reserves  graph: 1 x 1 CPU and 0.5 GPU for a training" in format_plan(with_gpu)


def test_the_text_has_merged_combinations():
    text = format_plan(study({"features": [["mordred"]], "fusion": OPERATORS}, split={"folds": 4}))
    assert "asked     3 combinations" in text
    assert "merged    2: a single modality makes techniques and operators equal" in text
    assert "trials    4 (4 folds x 1 repeats x 1 seeds an arm)" in text


def test_the_text_has_families_and_left_out_contrasts():
    pair = {"features": [["fingerprint", "mordred"]], "technique": TECHNIQUES}
    text = format_plan(study(pair, {"features": [["mordred"]]}))
    assert "contrasts 3 declared; smallest difference in AUROC seen:" in text
    assert "control: 0.0031 in 1 pair (same features)" in text
    assert "modality: 0.0051 in 2 pairs (other features or molecules)" in text
    assert "left out  2 of technique: an ensemble against another number of models" in text
    every = format_plan(study(pair, analysis={"ensembles": "any"}))
    assert "technique: 0.0031 in 2 pairs (same features)" in every
    assert "left out" not in every
    assert "contrasts none; name those that matter" in format_plan(
        study({"features": [["mordred"]]})
    )


@given(
    sets=st.lists(
        st.lists(
            st.sampled_from(["graph", "mordred", "smiles", "fingerprint"]),
            min_size=1,
            max_size=3,
            unique=True,
        ),
        min_size=1,
        max_size=3,
    ),
    techniques=st.lists(st.sampled_from(TECHNIQUES), min_size=1, unique=True),
    operators=st.lists(st.sampled_from(OPERATORS), min_size=1, unique=True),
    fractions=st.lists(st.sampled_from([0.1, 0.5, 1.0]), min_size=1, unique=True),
    folds=st.integers(2, 3),
    seeds=st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_every_trial_comes_once_and_after_its_members(
    sets, techniques, operators, fractions, folds, seeds
):
    grid = {"features": sets, "technique": techniques, "fusion": operators}
    plan = make_plan(study(grid, fractions=fractions, seeds=seeds, split={"folds": folds}))
    trials = list(plan.trials())
    times = Counter((t.arm.id, t.repeat, t.fold, t.seed) for t in trials)
    assert set(times.values()) == {1}
    assert len(trials) == len(plan.arms) * folds * len(seeds)
    assert len({arm.id for arm in plan.arms}) == len(plan.arms)
    expected = {
        (frozenset(names), "single" if len(names) == 1 else technique, fraction)
        for names, technique, fraction in product(sets, techniques, fractions)
    }
    requested = [arm for arm in plan.arms if arm not in plan.added]
    assert {(frozenset(c.names), c.technique, c.fraction) for c in requested} == expected
    seen = set()
    for trial in trials:
        assert all((m.arm.id, m.fold, m.seed) in seen for m in trial.members())
        seen.add((trial.arm.id, trial.fold, trial.seed))
