"""Packs of head trials: what a trial gives does not depend on those it is trained with."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from study.cells import TrialSpec
from study.metrics import auroc
from study.numerics import settled
from study.packs import packs_of, place_of, shape_of, stackable
from study.quick_auroc import QuickAuroc
from study.stacked import run_pack
from study.stacked_auroc import stacked_auroc
from study.stacked_batched import train_together
from study.words import Vocabulary

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
        {**PAIR, "technique": ["mlp_head"], "fusion": list(Vocabulary("operator").words())},
        {
            **PAIR,
            "technique": ["label_balancer", "independent_mean"],
            "partition": list(Vocabulary("partition").words()),
        },
        {"features": [["trained"]], "training": {"epochs": [1]}},
    ],
    "training": {"epochs": 8, "patience": 2, "hidden": [8], "batch_size": 16, "epoch_steps": 4},
    "fractions": [0.6, 1.0],
    "seeds": [0, 1],
}
"""Every operator and partition; folds, fractions, seeds, learning rates and dropouts differ."""


@pytest.fixture(scope="module")
def study(tmp_path_factory, spec_of, run_tiny):
    study, record, _ = run_tiny(spec_of(STUDY, tmp_path_factory.mktemp("packs")))
    assert record.missing == 0
    return study, record


@pytest.fixture(scope="module")
def heads(study):
    return [trial for trial in study[0].plan.trials() if stackable(trial)]


def run(trials, study, **how):
    """How each trial ended, by its id."""
    with settled(1):
        ended = list(run_pack(trials, study[0].inputs, **how))
    found = {study[0].inputs.trial_id(each.trial): each for each in ended}
    assert len(found) == len(ended) == len(trials)
    return found


def changed(trial, **numbers):
    training = trial.cell.training.model_copy(update=numbers)
    return replace(trial, cell=replace(trial.cell, training=training))


def alike(heads):
    """Trials of one shape in every fold and fraction, with either seed and all numbers.

    A fingerprint's transform keeps other columns on other training rows.
    """
    return [trial for trial in heads if trial.cell.names == ("characters",)]


def same(one, other):
    """Whether two results are the same but for the time they took."""
    return replace(one, seconds=0.0) == replace(other, seconds=0.0)


def tie(trial, inputs):
    """How far the monitored AUROC moves where two molecules of the rarest label change places."""
    labels = inputs.dataset.labels[inputs.fold(trial).validation[trial.cell.fraction]]
    pairs = labels.sum(axis=0) * (1 - labels).sum(axis=0)
    return 1 / pairs[pairs > 0].min() / (pairs > 0).sum()


def close(one, other, study):
    """Whether two results differ by no more than sums of float32 in another order.

    Two molecules whose scores agree to rounding may change places, and then another epoch may be
    the best one: what comes after such a tie is not compared.
    """
    shared = min(len(one.history["loss"]), len(other.history["loss"]))
    most_moved = 1.01 * tie(TrialSpec.from_json(one.trial), study[0].inputs)
    for name, most in (("loss", 1e-5), ("monitored", most_moved)):
        mine, theirs = one.history[name][:shared], other.history[name][:shared]
        assert mine == pytest.approx(theirs, abs=most)
    assert one.owners == other.owners
    return one.history["monitored"][:shared] != other.history["monitored"][:shared] or (
        one.counts == other.counts
        and np.abs(one.scores - other.scores).max() < 1e-4
        and np.nanmax(np.abs(one.auroc - other.auroc)) < 0.01  # of a tie in the test fold
    )


@pytest.fixture(scope="module")
def stacked(study, heads):
    return run(heads, study, together=True)


def test_trials_in_one_process_give_what_they_give_alone(study, heads):
    for key, ended in run(heads, study).items():
        assert same(ended.result, study[1].results[key])


def test_stacked_trials_give_what_they_give_alone(study, heads, stacked):
    assert {trial.cell.fusion.word for trial in heads if trial.cell.fusion} == set(
        Vocabulary("operator").words()
    )
    assert {trial.cell.partition.word for trial in heads if trial.cell.partition} == set(
        Vocabulary("partition").words()
    )
    for key, ended in stacked.items():
        assert close(ended.result, study[1].results[key], study)
    alike = [ended.result.counts == study[1].results[key].counts for key, ended in stacked.items()]
    assert np.mean(alike) > 0.95


def test_members_stop_when_each_of_them_would(stacked):
    epochs = {ended.result.counts["epochs"] for ended in stacked.values()}
    assert min(epochs) < max(epochs)


@pytest.mark.parametrize("size", [1, 3])
def test_a_result_does_not_depend_on_its_pack(size, study, heads, stacked):
    random.seed(size)
    some = random.sample(alike(heads), 6)
    for start in range(0, len(some), size):
        pack = some[start : start + size]
        for key, ended in run(pack, study, together=True).items():
            assert close(ended.result, stacked[key].result, study)


@pytest.mark.parametrize(
    "numbers", [{"precision": "bfloat16"}, {"monitor": "loss"}, {"average": 0}]
)
def test_stacked_trials_follow_every_number(numbers, study, heads):
    trials = [changed(trial, **numbers) for trial in heads[:3]]
    alone, together = run(trials, study), run(trials, study, together=True)
    for key in alone:
        one, other = alone[key].result, together[key].result
        if "precision" in numbers:  # 8 bits of a sum in another order
            assert np.abs(one.scores - other.scores).max() < 0.02
        else:
            assert close(one, other, study)


@pytest.mark.parametrize("together", [False, True])
def test_a_member_that_breaks_down_fails_alone(together, study, heads, stacked):
    broken = changed(heads[0], learning_rate=1e30)
    ended = run([heads[0], broken, heads[1]], study, together=together)
    failed = ended.pop(study[0].inputs.trial_id(broken))
    assert failed.result is None
    assert failed.cause.startswith("the training loss became ")
    assert "in epoch 1; lower 'training.learning_rate'" in failed.cause
    for key, other in ended.items():
        assert close(other.result, stacked[key].result, study)


def test_a_member_whose_embeddings_are_missing_fails_alone(study, heads):
    pair = next(trial for trial in heads if len(trial.cell.features) == 2)
    unseen = replace(pair, seed=99)
    ended = run([unseen, heads[0]], study, together=True)
    failed, other = (ended[study[0].inputs.trial_id(trial)] for trial in (unseen, heads[0]))
    assert failed.result is None
    assert failed.cause
    assert other.result is not None


@pytest.mark.parametrize("together", [False, True])
def test_a_pack_leaves_nothing_behind_in_its_process(together, study, heads):
    drawn, threads = torch.get_rng_state(), torch.get_num_threads()
    first = run(heads[-3:], study, together=together)
    run(heads[:2], study, together=together)
    for key, again in run(heads[-3:], study, together=together).items():
        assert same(first[key].result, again.result)
    assert torch.equal(drawn, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_a_pack_too_large_for_the_device_is_halved(study, heads, stacked, monkeypatch):
    sizes = []

    def small(members, *others):
        sizes.append(len(members))
        if len(members) > 2:
            raise torch.OutOfMemoryError("no room")
        return train_together(members, *others)

    monkeypatch.setattr("study.stacked.train_together", small)
    for key, ended in run(alike(heads)[:5], study, together=True).items():
        assert close(ended.result, stacked[key].result, study)
    assert sizes == [5, 3, 2, 1, 2]


def test_every_trial_is_in_one_pack_of_equal_shapes(study):
    trials = {str(i): trial for i, trial in enumerate(study[0].plan.trials())}
    packs = packs_of(trials, study[0].inputs, memory=2**40)
    assert sorted(key for pack in packs for key in pack) == sorted(trials)
    for pack in packs:
        members = [trials[key] for key in pack]
        assert len({shape_of(trial.cell) for trial in members}) == 1
        assert all(map(stackable, members)) or len(members) == 1
        assert [place_of(t) for t in members] == sorted(place_of(t) for t in members)
    kinds = {shape_of(trial.cell) for trial in trials.values() if stackable(trial)}
    others = [trial for trial in trials.values() if not stackable(trial)]
    assert {trial.cell.technique for trial in others} == {"independent_mean", "single"}
    assert len(packs) == len(kinds) + len(others)


def test_packs_fit_into_memory_and_there_are_enough(study, heads):
    inputs, trials = study[0].inputs, {str(i): trial for i, trial in enumerate(heads)}
    one_by_one = packs_of(trials, inputs, memory=0)
    assert list(map(len, one_by_one)) == [1] * len(heads)
    counts = [len(packs_of(trials, inputs, memory=m)) for m in (2**24, 2**25, 2**26, 2**40)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    assert len(packs_of(trials, inputs, memory=2**40, fewest=40)) >= 40


@pytest.mark.parametrize("digits", [1, 8])
def test_auroc_is_scikit_learns(digits):
    rng = np.random.default_rng(digits)
    labels = (rng.random((90, 12)) < rng.random(12)).astype(np.uint8)
    labels[:, 0], labels[:, 1] = 0, 1
    scores = rng.normal(size=labels.shape).round(digits).astype(np.float32)
    scores[:5] = [[0.0] * 12, [-0.0] * 12, *[[1e-30] * 12] * 3]
    values = QuickAuroc(labels)(scores)
    truth, given = torch.from_numpy(labels)[None], torch.from_numpy(scores)[None]
    assert np.array_equal(stacked_auroc(truth, given)[0].numpy(), values, equal_nan=True)
    assert np.array_equal(auroc(labels, scores), values, equal_nan=True)
    assert np.isnan(values[:2]).all()
    expected = roc_auc_score(labels[:, 2:], scores[:, 2:], average=None)
    assert values[2:] == pytest.approx(expected, abs=1e-12)
