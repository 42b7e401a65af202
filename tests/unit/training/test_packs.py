"""Packs of head trials: a trial's result does not depend on the others of its pack."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from study.plugins.registry import Registry
from study.training.distributed import torch_settings
from study.training.packing import MOST, WIDTH, build_packs, can_share_process, fold_key
from study.training.packs import run_pack
from study.training.trial import run_trial

SIMULATED = {"source": "simulated", "molecules": 150, "labels": 6, "permuted": 0.2, "skew": 2.0}
TEXT = {"modality": "smiles", "layers": 1, "width": 8, "heads": 2, "feedforward": 8}
PAIR = {"features": [["counts", "characters"]]}
STUDY = {
    "name": "packs",
    "data": {"preset": "simulated", "sources": [SIMULATED]},
    "split": {"folds": 2, "min_positives": 2},
    "modalities": {
        "counts": {"modality": "fingerprint", "size": 256},
        "characters": {**TEXT, "calibration": "frozen"},
        "trained": {**TEXT, "calibration": "joint"},
    },
    "grid": [
        {
            "features": [["counts"], ["characters"]],
            "training": {"learning_rate": [1e-3, 1e-2], "dropout": [0, 0.4]},
        },
        {**PAIR, "technique": ["mlp_head"], "fusion": list(Registry("operator").names())},
        {
            **PAIR,
            "technique": ["label_balancer", "independent_mean"],
            "partition": list(Registry("partition").names()),
        },
        {"features": [["trained"]], "training": {"epochs": [1]}},
    ],
    "training": {"epochs": 8, "patience": 2, "hidden": [8], "batch_size": 16, "epoch_steps": 4},
    "fractions": [0.6, 1.0],
    "seeds": [0, 1],
}
"""All operators and partitions, with several folds, fractions, seeds and hyperparameters."""


@pytest.fixture(scope="module")
def study(tmp_path_factory, spec_of, run_tiny):
    study, record, _ = run_tiny(spec_of(STUDY, tmp_path_factory.mktemp("packs")))
    assert record.missing == 0
    return study, record


@pytest.fixture(scope="module")
def heads(study):
    return [trial for trial in study[0].plan.trials() if can_share_process(trial)]


def run(trials, study):
    """Run a pack; return the outcome of each trial by its id."""
    with torch_settings(1):
        outcomes = list(run_pack(trials, study[0].data))
    by_id = {study[0].data.trial_id(outcome.trial): outcome for outcome in outcomes}
    assert len(by_id) == len(outcomes) == len(trials)
    return by_id


def changed(trial, **numbers):
    training = trial.arm.training.model_copy(update=numbers)
    return replace(trial, arm=replace(trial.arm, training=training))


def same(one, other):
    """Whether two results differ at most in their duration."""
    return replace(one, seconds=0.0) == replace(other, seconds=0.0)


def test_a_pack_of_all_heads_reproduces_the_ledger(study, heads):
    for key, ended in run(heads, study).items():
        assert same(ended.result, study[1].by_id[key])


def test_results_in_a_pack_equal_results_alone(study, heads):
    some = heads[:: len(heads) // 9]
    packed = run(some, study)
    for trial in some:
        with torch_settings(1):
            alone = run_trial(trial, study[0].data)
        assert same(packed[alone.id].result, alone)


def test_float16_heads_can_share_a_pack(study, heads):
    trials = [changed(trial, precision="float16") for trial in heads[:2]]
    assert all(map(can_share_process, trials))
    for ended in run(trials, study).values():
        assert ended.result is not None


def diverging(heads):
    return changed(heads[0], learning_rate=1e30), "the training loss became "


def without_its_partition(heads):
    """Return an impossible trial, whose error is of an unexpected type."""
    trial = next(trial for trial in heads if trial.arm.partition)
    return replace(trial, arm=replace(trial.arm, partition=None)), "TypeError: "


@pytest.mark.parametrize("breaking", [diverging, without_its_partition])
def test_a_failing_trial_fails_alone(breaking, study, heads):
    broken, cause = breaking(heads)
    ended = run([heads[0], broken, heads[1]], study)
    failed = ended.pop(study[0].data.trial_id(broken))
    assert failed.result is None
    assert failed.cause.startswith(cause)
    for key, other in ended.items():
        assert same(other.result, study[1].by_id[key])


def test_a_trial_whose_embeddings_are_missing_fails_alone(study, heads):
    pair = next(trial for trial in heads if len(trial.arm.features) == 2)
    unseen = replace(pair, seed=99)
    ended = run([unseen, heads[0]], study)
    failed, other = (ended[study[0].data.trial_id(trial)] for trial in (unseen, heads[0]))
    assert failed.result is None
    assert failed.cause
    assert other.result is not None


def test_a_pack_leaves_no_state_in_its_process(study, heads):
    drawn, threads = torch.get_rng_state(), torch.get_num_threads()
    first = run(heads[-3:], study)
    run(heads[:2], study)
    for key, again in run(heads[-3:], study).items():
        assert same(first[key].result, again.result)
    assert torch.equal(drawn, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def features(trial):
    return tuple(feature.key for feature in trial.arm.features)


def test_packs_partition_trials_by_their_features(study):
    trials = {str(i): trial for i, trial in enumerate(study[0].plan.trials())}
    packs = build_packs(trials, study[0].data, memory=2**40)
    assert sorted(key for pack in packs for key in pack) == sorted(trials)
    for pack in packs:
        members = [trials[key] for key in pack]
        assert len({features(trial) for trial in members}) == 1
        assert all(map(can_share_process, members)) or len(members) == 1
        assert [fold_key(t) for t in members] == sorted(fold_key(t) for t in members)
    heads = Counter(features(trial) for trial in trials.values() if can_share_process(trial))
    others = [trial for trial in trials.values() if not can_share_process(trial)]
    assert {trial.arm.technique for trial in others} == {"independent_mean", "single"}
    assert len(packs) == sum(-(-count // MOST) for count in heads.values()) + len(others)


def test_packs_respect_memory_and_the_fewest(study, heads):
    data, trials = study[0].data, {str(i): trial for i, trial in enumerate(heads)}
    one_by_one = build_packs(trials, data, memory=0)
    assert list(map(len, one_by_one)) == [1] * len(heads)
    table = 4 * len(data.dataset) * WIDTH
    counts = [len(build_packs(trials, data, memory=m)) for m in (2 * table, 4 * table, 2**40)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    assert len(build_packs(trials, data, memory=2**40, fewest=40)) >= 40
