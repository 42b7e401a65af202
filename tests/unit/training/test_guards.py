"""Checks before training: inert arms are refused, weights are counted and matched."""

import io
from itertools import combinations

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from fusion import SingleHead, seeded
from study.config.loading import check_study
from study.config.training import TrainingConfig
from study.errors import InputError
from study.planning.contrasts import build_contrasts
from study.planning.plan import make_plan
from study.results.study_results import load_snapshot
from study.runner.launcher import print_results
from study.runner.prepare import prepare, write_study_folder
from study.training.encoders import head_shape
from study.training.equivalence import build_probe, build_probe_head, find_equivalent_arms
from study.training.parameter_matching import count_parameters, match_parameters, match_widths

OPERATORS = [
    *({"operator": "concat", "stage": stage} for stage in ("label", "logit", "latent")),
    *({"operator": "product", "stage": stage} for stage in ("label", "logit", "latent")),
    *(
        {"operator": "parallel", "stage": stage, "combine": combine}
        for stage in ("label", "logit", "latent")
        for combine in ("add", "mean", "learned")
    ),
]


def heads(operators):
    raw = {"name": "mine", "data": "starter"}
    grid = [{"features": [["fingerprint", "mordred"]], "fusion": operators}]
    return make_plan(check_study({**raw, "grid": grid}, "x")).arms


def probe(arm):
    dims = {feature.module_name: 3 + i for i, feature in enumerate(arm.features)}
    return build_probe(build_probe_head(arm, dims, 4), dims)


def test_all_shipped_operators_build_different_heads():
    """Also `parallel` at stage logit, whose combinations represent the same functions."""
    probes = [(str(arm), probe(arm)) for arm in heads(OPERATORS)]
    assert [(a, b) for (a, x), (b, y) in combinations(probes, 2) if x.equals(y)] == []


def test_heads_with_renamed_weights_are_equal():
    class Renamed(nn.Module):
        def __init__(self, head):
            super().__init__()
            self.layers = head.mlp

        def forward(self, embeddings):
            return self.layers(embeddings["a"])

    shape = head_shape(TrainingConfig(hidden=(5,), dropout=0.5))
    with seeded(1):
        one, other = (SingleHead({"a": 3}, 2, shape) for _ in range(2))
    other.load_state_dict(one.state_dict())
    assert build_probe(one, {"a": 3}).equals(build_probe(Renamed(other), {"a": 3}))
    with torch.no_grad():
        other.mlp[0].weight[0, 0] += 0.01
    assert not build_probe(one, {"a": 3}).equals(build_probe(Renamed(other), {"a": 3}))


PAIRS = {"features": [["counts", "characters"]]}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {**PAIRS, "training": {"encoder_learning_rate": [1e-3, 1e-4]}},
            "concat / 1: they differ in encoder_learning_rate, which affects only encoders trained",
        ),
        (
            {
                **PAIRS,
                "technique": ["independent_mean"],
                "training": {"top_layers": [None, 1], "freeze_epochs": [0]},
            },
            "independent_mean / 1: they differ in top_layers, which affects only",
        ),
    ],
)
def test_an_inert_arm_is_refused_before_anything_is_written(
    block, message, tiny, spec_of, tmp_path
):
    tiny["grid"] = [block]
    with pytest.raises(InputError, match=r"inert arms; nothing was run") as error:
        prepare(spec_of(tiny, tmp_path))
    assert message in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}


def test_encoder_hyperparameters_matter_for_joint_encoders(tiny, spec_of, tmp_path):
    tiny["modalities"]["characters"]["calibration"] = "joint"
    tiny["grid"] = [{**PAIRS, "training": {"encoder_learning_rate": [1e-3, 1e-4]}}]
    assert len(prepare(spec_of(tiny, tmp_path)).plan.arms) == 2


@pytest.mark.parametrize(("calibration", "twins"), [("frozen", 1), ("finetune", 0)])
def test_dropout_is_inert_in_a_frozen_encoder(calibration, twins, tiny, spec_of, tmp_path):
    other = {**tiny["modalities"]["characters"], "dropout": 0.3, "calibration": calibration}
    tiny["modalities"]["dropped"] = other
    tiny["modalities"]["wider"] = {**tiny["modalities"]["characters"], "feedforward": 16}
    tiny["grid"] = [{"features": [["characters"], ["dropped"], ["wider"]]}]
    spec = spec_of(tiny, tmp_path)
    if not twins:
        assert len(prepare(spec).plan.arms) == 3
        return
    with pytest.raises(InputError, match=r"1 inert arms; .*\n  dropped / single .* frozen"):
        prepare(spec)


def test_partitions_are_inert_if_equal_in_every_trial(tiny, spec_of, tmp_path):
    """With labels sorted by frequency, some partitions assign them alike."""
    rules = ["density", {"partition": "density", "densest": "last"}, "round_robin", "affinity"]
    tiny["grid"] = [{**PAIRS, "technique": ["label_balancer"], "partition": rules}]
    study = prepare(spec_of(tiny, tmp_path))
    assert list(find_equivalent_arms(study.plan, study.data)) == []
    labels = study.data.dataset.labels[:, [0, 1]].copy()
    object.__setattr__(study.data.dataset, "labels", labels)
    positives = labels.sum(0)
    assert positives[0] > positives[1]
    equivalent = [
        (str(a.partition), str(b.partition))
        for a, b in find_equivalent_arms(study.plan, study.data)
    ]
    owners = {}
    for arm in study.plan.arms:
        if arm.partition.name != "affinity" and arm.technique == "label_balancer":
            owners[str(arm.partition)] = owners_by_definition(arm, study)
    expected = [
        (later, earlier)
        for earlier, later in combinations(owners, 2)
        if all(np.array_equal(x, y) for x, y in zip(owners[earlier], owners[later], strict=True))
    ]
    assert equivalent == expected
    assert equivalent


def owners_by_definition(arm, study):
    """Return the owners of two labels in each trial, from the definitions of the partitions."""
    owners = []
    for trial in study.plan.trials_of(arm):
        rows = study.data.fold(trial).fit[1.0]
        counts = study.data.dataset.labels[rows].sum(0)
        densest = int(np.argmax(counts))
        first = np.array([0 if j == densest else 1 for j in range(2)])
        last = arm.partition.options.get("densest") == "last"
        round_robin = arm.partition.name == "round_robin"
        owners.append(first if round_robin or not last else 1 - first)
    return owners


@pytest.fixture
def wide(tiny):
    """A study with heads wide enough to be matched, of three operators and every technique."""
    tiny["training"]["hidden"] = [64]
    operators = ["concat", {"operator": "parallel", "stage": "latent"}, "product"]
    tiny["grid"][1]["fusion"] = operators
    return tiny


def test_parameter_counts_equal_those_of_trials(launched):
    prepared, record, _ = launched
    sizes = count_parameters(prepared.plan, prepared.data)
    for arm in prepared.plan.arms:
        assert sizes.weights(arm) == record.results_of(arm)[0].counts["parameters"]


def test_comparisons_of_unequal_parameter_counts_are_reported(wide, spec_of, run_tiny, tmp_path):
    _, record, _ = run_tiny(spec_of(wide, tmp_path))
    shown = io.StringIO()
    print_results(record, Console(file=shown, width=200))
    lines = [line for line in shown.getvalue().splitlines() if "trained weights" in line]
    assert [line.split(" pairs")[0] for line in lines] == ["technique: 1 of 2", "modality: 2 of 2"]


def test_matched_parameter_counts_agree_within_two_percent(wide, spec_of, tmp_path):
    plain = prepare(spec_of(wide, tmp_path))
    study = prepare(spec_of({**wide, "parameters": "matched"}, tmp_path))
    sizes = count_parameters(study.plan, study.data)
    contrasts = [c for c in build_contrasts(study.spec, study.plan) if c.family == "technique"]
    before = [c for c in build_contrasts(plain.spec, plain.plan) if c.family == "technique"]
    assert [str(c) for c in contrasts] == [str(c) for c in before]  # still the same questions
    for contrast in contrasts:
        weights = sizes.weights(contrast.arm) / sizes.weights(contrast.reference)
        assert abs(weights - 1) <= 0.02
    (parallel,) = (c.arm for c in contrasts if "parallel" in str(c.arm))
    assert parallel.training.hidden != (64,)
    write_study_folder(study)
    again = load_snapshot(study.folder)  # what a report or a comparison reads later
    assert [c.id for c in again.plan.arms] == [c.id for c in study.plan.arms]
    assert match_parameters(study.spec, study.plan, study.data).grid == study.spec.grid


def test_heads_too_narrow_to_match_are_reported(wide, spec_of, tmp_path):
    wide["training"]["hidden"] = [1]
    study = prepare(spec_of(wide, tmp_path))
    sizes = count_parameters(study.plan, study.data)
    arms = {str(arm): arm for arm in study.plan.arms}
    scores = arms["counts+characters / independent_mean / 1"]
    reference = arms["counts+characters / mlp_head / concat / 1"]
    with pytest.raises(InputError, match=r"no hidden widths give counts.*within 2%; the nearest"):
        match_widths(scores, reference, sizes)
