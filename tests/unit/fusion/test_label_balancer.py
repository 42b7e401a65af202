"""The balancer against the two-term objective of the published study."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from fusion import FusionError, HeadShape, LabelBalancer, seeded
from fusion.label_balancer import compute_mean_logit
from fusion.partitions import LabelPartition
from fusion.partitions.random_per_batch import RandomPerBatch

L, HEAD = 11, HeadShape(hidden=(6, 5), dropout=0.0)


def balancer(dims, partition, seed=0, **options):
    with seeded(seed):
        return LabelBalancer(dims, L, HEAD, partition, **options).double()


@pytest.fixture
def fixed(dims):
    return LabelPartition(tuple(dims), np.arange(L) % len(dims))


@pytest.fixture
def targets():
    return torch.randint(2, (6, L), generator=torch.Generator().manual_seed(1)).double()


def test_loss_and_gradients_are_the_two_term_objective(dims, embeddings, targets, make_context):
    dims = {m: dims[m] for m in ("smiles", "graph")}
    embeddings = {m: embeddings[m] for m in dims}
    context = make_context(L, tuple(dims), seed=5)
    model = balancer(dims, RandomPerBatch().build(context))
    twin = copy.deepcopy(model)

    loss = binary_cross_entropy_with_logits(model(embeddings), targets)
    loss.backward()

    mask = (RandomPerBatch().build(context).draw() == 0).double()  # 1: the first branch owns it
    assert 0 < mask.sum() < L
    p, q = (twin.branches.by_modality[m](embeddings[m]).sigmoid() for m in dims)
    first = (mask * binary_cross_entropy(p, targets, reduction="none")).sum()
    second = ((1 - mask) * binary_cross_entropy(q, targets, reduction="none")).sum()
    objective = (first + second) / targets.numel()
    objective.backward()

    assert torch.allclose(loss, objective, rtol=1e-12)
    for mine, literal in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(mine.grad, literal.grad, rtol=1e-9, atol=1e-15)


def test_a_label_trains_its_owner_only(dims, embeddings, targets, fixed):
    model = balancer(dims, fixed)
    label = 4  # owned by "graph"
    binary_cross_entropy_with_logits(model(embeddings)[:, label], targets[:, label]).backward()
    reached = {m: model.branches.by_modality[m][0].weight.grad.any().item() for m in dims}
    assert reached == {"smiles": False, "graph": True, "mordred": False}


def test_gradient_reaches_every_branch(dims, embeddings, fixed):
    model = balancer(dims, fixed)
    model(embeddings).square().sum().backward()
    assert all(p.grad.any() for p in model.parameters())


def test_training_draws_owners_at_every_step(dims, embeddings, make_context):
    context = make_context(L, tuple(dims))
    model, owners = balancer(dims, RandomPerBatch().build(context)), RandomPerBatch().build(context)
    branches = model.branches(embeddings)
    for _ in range(3):
        owner = owners.draw()
        expected = torch.stack([branches[:, owner[label], label] for label in range(L)], dim=1)
        assert torch.equal(model(embeddings), expected)


def test_evaluation_does_not_draw(dims, embeddings, make_context):
    partition = RandomPerBatch().build(make_context(L, tuple(dims)))
    model = balancer(dims, partition).eval()
    before = copy.deepcopy(partition).draw()
    assert torch.equal(model(embeddings), model(embeddings))
    assert torch.equal(partition.draw(), before)


def test_mean_inference_averages_probabilities(dims, embeddings, fixed):
    model = balancer(dims, fixed, inference="mean").eval()
    probability = model.branches(embeddings).sigmoid().mean(1)
    assert torch.allclose(model(embeddings).sigmoid(), probability, rtol=1e-12)


def test_owner_inference_equals_training(dims, embeddings, fixed):
    model = balancer(dims, fixed)
    assert torch.equal(model.eval()(embeddings), model.train()(embeddings))


def test_default_inference_follows_the_partition(dims, fixed, make_context):
    assert balancer(dims, fixed).inference == "owner"
    drawn = RandomPerBatch().build(make_context(L, tuple(dims)))
    assert balancer(dims, drawn).inference == "mean"


def exact_mean_logit(logits):
    """log(P / Q) with both means formed from their own exponentials, never as 1 - P."""
    logits = np.asarray(logits, dtype=np.float64)
    return np.log(np.mean(1 / (1 + np.exp(-logits)))) - np.log(np.mean(1 / (1 + np.exp(logits))))


@given(st.lists(st.floats(-80, 80, width=32), min_size=2, max_size=4))
def test_mean_logit_holds_where_the_sigmoid_saturates(values):
    expected = exact_mean_logit(values)
    for dtype in (torch.float32, torch.float64):
        actual = compute_mean_logit(torch.tensor(values, dtype=dtype).reshape(1, -1, 1))
        np.testing.assert_allclose(actual.item(), expected, rtol=1e-6, atol=1e-6)


def test_mean_logit_at_the_extremes():
    pairs = torch.tensor([[80.0, 80.0], [-80.0, -80.0], [80.0, -80.0], [80.0, 0.0]])
    actual = compute_mean_logit(pairs.unsqueeze(2)).squeeze(1)
    np.testing.assert_allclose(actual, [80.0, -80.0, 0.0, np.log(3)], rtol=1e-6)


def test_fixed_owners_are_in_the_state_dict(dims, embeddings, fixed):
    model = balancer(dims, fixed).eval()
    turned = LabelPartition(tuple(dims), (fixed.owner + 1) % 3)
    other = balancer(dims, turned, seed=1).eval()
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(other(embeddings), model(embeddings))
    assert torch.equal(other.train()(embeddings), model(embeddings))


def test_mismatched_partition_is_refused(dims, fixed, make_context):
    backwards = dict(reversed(dims.items()))
    with pytest.raises(FusionError, match=r"assigns labels to 'smiles', .* same order"):
        balancer(backwards, fixed)
    with pytest.raises(FusionError, match="assigns 11 labels, the model has 12"):
        LabelBalancer(dims, 12, HEAD, fixed)
    with pytest.raises(FusionError, match="inference 'best' is unknown; allowed: 'mean', 'owner'"):
        balancer(dims, fixed, inference="best")
    drawn = RandomPerBatch().build(make_context(L, tuple(dims)))
    with pytest.raises(
        FusionError, match="drawn per batch has no owners at inference: inference must be 'mean'"
    ):
        balancer(dims, drawn, inference="owner")
