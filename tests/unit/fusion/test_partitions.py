"""Each partition against its stated rule."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fusion import FusionError
from fusion.partitions import LabelPartition, PartitionContext
from fusion.partitions.affinity import Affinity
from fusion.partitions.density import Density
from fusion.partitions.random_per_batch import RandomPerBatch
from fusion.partitions.round_robin import RoundRobin

NAMES = ("smiles", "graph", "mordred", "fingerprint")


@st.composite
def contexts(draw):
    k, n_labels = draw(st.integers(2, 4)), draw(st.integers(1, 12))
    labels = draw(arrays.arrays(np.uint8, (6, n_labels), elements=st.integers(0, 1)))
    scores = st.one_of(st.floats(0, 1), st.just(float("nan")))
    auroc = draw(arrays.arrays(np.float64, (k, n_labels), elements=scores))
    auroc[:, 0] = np.nan_to_num(auroc[:, 0], nan=0.5)  # at least one label is defined
    return PartitionContext(NAMES[:k], labels, np.arange(6), 0, auroc)


@given(contexts())
def test_density_cuts_the_sorted_labels_into_even_blocks(context):
    owner = Density().build(context).owner
    blocks = [context.positives[owner == m] for m in range(context.k)]
    sizes = [len(block) for block in blocks]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1
    filled = [block for block in blocks if len(block)]
    for denser, sparser in pairwise(filled):
        assert denser.min() >= sparser.max()


def test_density_can_give_the_dense_labels_to_the_last(make_context):
    context = make_context()
    first, last = (Density(densest=which).build(context).owner for which in ("first", "last"))
    assert np.array_equal(last, 2 - first)
    assert last[context.positives.argmax()] == 2


@given(contexts())
def test_round_robin_deals_the_sorted_labels_in_turn(context):
    owner = RoundRobin().build(context).owner
    by_density = sorted(range(context.n_labels), key=lambda j: (-context.positives[j], j))
    assert [owner[j] for j in by_density] == [i % context.k for i in range(context.n_labels)]


def test_round_robin_by_column_ignores_density(make_context):
    owner = RoundRobin(order="column").build(make_context(7)).owner
    assert owner.tolist() == [0, 1, 2, 0, 1, 2, 0]


def labels_with(positives, n=50):
    return (np.arange(n)[:, None] < np.array(positives)).astype(np.uint8)


def affinity(auroc, positives, shrinkage):
    auroc = np.array(auroc)
    labels = labels_with(positives)
    context = PartitionContext(NAMES[: len(auroc)], labels, np.arange(50), 0, auroc)
    return Affinity(shrinkage=shrinkage).build(context).owner.tolist()


def test_affinity_shrinks_rare_labels_towards_the_global_winner():
    # means 0.80 and 0.75: modality 0 wins globally by 0.05, modality 1 wins label 1 and 2 by 0.1.
    auroc = [[1.0, 0.7, 0.7], [0.65, 0.8, 0.8]]
    assert affinity(auroc, [40, 40, 4], shrinkage=0) == [0, 1, 1]
    # label 2, w = 4 / 14: 0.2857 * -0.1 + 0.7143 * 0.05 > 0; label 1, w = 0.8: -0.08 + 0.01 < 0
    assert affinity(auroc, [40, 40, 4], shrinkage=10) == [0, 1, 0]


def test_affinity_by_hand():
    context = PartitionContext(NAMES[:2], labels_with([30, 10]), np.arange(50), 0)
    auroc = np.array([[0.9, 0.5], [0.6, 0.7]])  # means 0.7 and 0.65
    score = Affinity(shrinkage=10).shrink(auroc, context.positives)
    expected = [
        [0.75 * 0.9 + 0.25 * 0.7, 0.5 * 0.5 + 0.5 * 0.7],
        [0.75 * 0.6 + 0.25 * 0.65, 0.5 * 0.7 + 0.5 * 0.65],
    ]
    np.testing.assert_allclose(score, expected, rtol=1e-12)


def test_affinity_without_shrinkage_is_the_best_of_each_label(make_context):
    context = make_context(40)
    owner = Affinity(shrinkage=0).build(context).owner
    assert np.array_equal(owner, context.inner_auroc.argmax(axis=0))


def test_affinity_gives_an_undefined_label_to_the_global_winner():
    nan = float("nan")
    assert affinity([[0.6, nan, 0.9], [0.7, 1.0, 0.65]], [20, 20, 20], shrinkage=0) == [1, 0, 0]


def test_affinity_gives_idle_modality_its_cheapest_label():
    assert affinity([[0.9, 0.9, 0.9], [0.5, 0.8, 0.6]], [20, 20, 20], shrinkage=10) == [0, 1, 0]


@given(contexts())
def test_strong_shrinkage_leaves_one_label_to_each_other_modality(context):
    owner = Affinity(shrinkage=1e12).build(context).owner
    defined = np.isfinite(context.inner_auroc).all(axis=0)
    mean = context.inner_auroc[:, defined].mean(axis=1)
    assume(len(np.unique(mean.round(6))) == context.k <= context.n_labels)
    counts = np.bincount(owner, minlength=context.k)
    assert counts[mean.argmax()] == context.n_labels - context.k + 1


def test_affinity_refuses_scores_without_a_defined_label(make_context):
    context = replace(make_context(3), inner_auroc=np.full((3, 3), np.nan))
    with pytest.raises(FusionError, match="no label has a defined inner AUROC"):
        Affinity().build(context)


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_affinity_refuses_shrinkage(value):
    with pytest.raises(FusionError, match="shrinkage must be finite and at least 0"):
        Affinity(shrinkage=value)


def test_unknown_choices_are_named():
    with pytest.raises(FusionError, match="densest 'middle' is unknown; allowed: 'first', 'last'"):
        Density(densest="middle")
    with pytest.raises(FusionError, match="order 'abc' is unknown; allowed: 'density', 'column'"):
        RoundRobin(order="abc")


@pytest.mark.parametrize("k", [2, 3])
def test_random_owners_are_uniform_and_independent(k, make_context):
    partition = RandomPerBatch().build(make_context(4, NAMES[:k]))
    steps = 6000
    owners = np.stack([partition.draw().numpy() for _ in range(steps)])

    def assert_share(hits, share):  # within 5 standard deviations of a fair draw
        assert abs(hits.mean() - share) < 5 * np.sqrt(share * (1 - share) / steps)

    for label in range(4):
        for modality in range(k):
            assert_share(owners[:, label] == modality, 1 / k)
    assert_share(owners[:, 0] == owners[:, 1], 1 / k)  # labels of one step
    assert_share(owners[:, 0] == np.roll(owners[:, 0], 1), 1 / k)  # steps of one label


def test_random_owners_differ_by_seed(make_context):
    streams = [RandomPerBatch().build(make_context(60, seed=seed)).draw() for seed in (0, 1)]
    assert not np.array_equal(*streams)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modalities": ("graph",)}, "two or more different modalities, got 'graph'"),
        ({"modalities": ("graph", "graph", "smiles")}, "two or more different modalities"),
        ({"labels": np.zeros((40, 11), dtype=np.float32)}, "labels of 0 and 1, uint8 .* float32"),
        ({"labels": np.full((40, 11), 2, dtype=np.uint8)}, "labels of 0 and 1, uint8"),
        ({"rows": np.arange(39)}, "rows must number the 40 training molecules"),
        ({"rows": np.zeros(40, dtype=np.int64)}, "each once"),
        ({"inner_auroc": np.zeros((2, 11))}, r"must be \(k, l\) = \(3, 11\), got \(2, 11\)"),
        ({"inner_auroc": np.full((3, 11), 1.5)}, r"inner_auroc must be in \[0, 1\] or NaN"),
    ],
)
def test_context_is_checked(change, message, make_context):
    with pytest.raises(FusionError, match=message):
        replace(make_context(), **change)


@pytest.mark.parametrize(
    ("owner", "message"),
    [
        (np.array([0, 1, 2]), r"owners must be in 0..1, got 0..2"),
        (np.array([0, -1]), r"owners must be in 0..1, got -1..0"),
        (np.array([0.0, 1.0]), r"owner must be int64 \(l,\), got float64"),
        (np.array([], dtype=np.int64), r"owner must be int64 \(l,\)"),
        (np.array([1, 1, 1]), "'smiles' would own no label and never be trained"),
    ],
)
def test_label_partition_is_checked(owner, message):
    with pytest.raises(FusionError, match=message):
        LabelPartition(("smiles", "graph"), owner)


def test_label_partition_is_frozen():
    partition = LabelPartition(("smiles", "graph"), np.array([0, 1]))
    with pytest.raises(ValueError, match="read-only"):
        partition.owner[0] = 1
    partition.draw()[0] = 1  # a drawn tensor is the caller's own
    assert partition.owner[0] == 0


def test_fewer_labels_than_modalities_is_allowed():
    assert LabelPartition(("smiles", "graph"), np.array([1])).n_labels == 1
