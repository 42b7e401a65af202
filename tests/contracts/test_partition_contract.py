"""Contract of every label partition, with every variant of its options."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from fusion import FusionError


def draws(partition, steps=5):
    return torch.stack([partition.draw() for _ in range(steps)])


def test_gives_every_label_an_owner(rule, make_context):
    context = make_context()
    partition = rule().build(context)
    owners = draws(partition)
    assert owners.shape == (5, 11)
    assert owners.dtype == torch.int64
    assert ((owners >= 0) & (owners < 3)).all()
    assert (partition.modalities, partition.n_labels) == (context.modalities, 11)


def test_owners_change_only_if_per_batch(rule, make_context):
    made, partition = rule(), rule().build(make_context())
    changes = len(draws(partition).unique(dim=0)) > 1
    assert changes == partition.per_batch == made.per_batch


def test_same_context_gives_the_same_owners(rule, make_context):
    first, second = (rule().build(make_context()) for _ in range(2))
    assert torch.equal(draws(first), draws(second))


def test_copies_and_pickles_continue_the_stream(rule, make_context):
    partition = rule().build(make_context())
    partition.draw()
    copied, sent = copy.deepcopy(partition), pickle.loads(pickle.dumps(partition))  # noqa: S301 (our own bytes)
    owners = draws(partition)
    assert torch.equal(draws(copied), owners)
    assert torch.equal(draws(sent), owners)


def test_global_random_state_is_unchanged(rule, make_context):
    context, before = make_context(), torch.get_rng_state()
    draws(rule().build(context))
    assert torch.equal(torch.get_rng_state(), before)


def test_order_of_molecules_does_not_matter(rule, make_context):
    context = make_context()
    order = np.random.default_rng(0).permutation(len(context.rows))
    shuffled = replace(context, labels=context.labels[order], rows=context.rows[order])
    assert torch.equal(draws(rule().build(shuffled)), draws(rule().build(context)))


@pytest.mark.parametrize("k", [2, 3, 4])
def test_every_modality_owns_a_label(fixed_rule, k, make_context):
    for seed in range(10):
        context = make_context(k, ("a", "b", "c", "d")[:k], seed)
        assert sorted(fixed_rule().build(context).draw().tolist()) == list(range(k))


def test_fewer_labels_than_modalities_are_allowed(rule, make_context):
    for seed in range(10):
        assert rule().build(make_context(1, seed=seed)).draw().shape == (1,)


def test_inner_scores_are_needed_where_declared(rule, make_context):
    context = make_context(scores=False)
    if rule().needs_inner_scores:
        with pytest.raises(FusionError, match=r"needs inner_auroc \(k, l\)"):
            rule().build(context)
    else:
        without, with_scores = rule().build(context), rule().build(make_context(scores=True))
        assert torch.equal(draws(without), draws(with_scores))
