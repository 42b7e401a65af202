"""The contract of a label partition."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from fusion import FusionError
from fusion.partitions import PartitionContext
from study.testing.base import ComponentContract, unchanged_random_state

_MODALITIES = ("smiles", "graph", "mordred")
_LABELS = 11


def make_context(
    n_labels: int = _LABELS,
    modalities: tuple[str, ...] = _MODALITIES,
    seed: int = 0,
    *,
    scores: bool = True,
) -> PartitionContext:
    """Make a context with labels of very different density, and scores for every label."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((40, n_labels)) < rng.random(n_labels)).astype(np.uint8)
    auroc = rng.uniform(0.5, 1, (len(modalities), n_labels)) if scores else None
    rows = rng.choice(1000, size=40, replace=False)
    return PartitionContext(modalities, labels, rows, seed, auroc)


def draw_owners(partition: Any, steps: int = 5) -> torch.Tensor:
    """Draw the owners of several training steps, (steps, l)."""
    return torch.stack([partition.draw() for _ in range(steps)])


class PartitionContract(ComponentContract):
    """Tests of a `fusion.partitions.PartitionRule` and of the partitions that it builds."""

    family: ClassVar[str] = "partition"

    @pytest.fixture
    def rule(self, component_class: type[Any], needed_options: Mapping[str, Any]) -> Any:
        return component_class(**needed_options)

    def test_gives_every_label_an_owner(self, rule: Any) -> None:
        context = make_context()
        partition = rule.build(context)
        owners = draw_owners(partition)
        assert owners.shape == (5, _LABELS)
        assert owners.dtype == torch.int64
        assert ((owners >= 0) & (owners < len(_MODALITIES))).all()
        assert (partition.modalities, partition.n_labels) == (context.modalities, _LABELS)

    def test_owners_change_only_if_per_batch(self, rule: Any) -> None:
        partition = rule.build(make_context())
        changes = len({tuple(owners) for owners in draw_owners(partition).tolist()}) > 1
        assert changes == partition.per_batch == rule.per_batch

    def test_same_context_gives_the_same_owners(self, rule: Any) -> None:
        first, second = (rule.build(make_context()) for _ in range(2))
        assert torch.equal(draw_owners(first), draw_owners(second))

    def test_copies_and_pickles_continue_the_stream(self, rule: Any) -> None:
        partition = rule.build(make_context())
        partition.draw()
        copied = copy.deepcopy(partition)
        sent = pickle.loads(pickle.dumps(partition))  # noqa: S301 (bytes of this line)
        owners = draw_owners(partition)
        assert torch.equal(draw_owners(copied), owners)
        assert torch.equal(draw_owners(sent), owners)

    def test_global_random_state_is_unchanged(self, rule: Any) -> None:
        with unchanged_random_state():
            draw_owners(rule.build(make_context()))

    def test_order_of_molecules_does_not_matter(self, rule: Any) -> None:
        context = make_context()
        order = np.random.default_rng(0).permutation(len(context.rows))
        shuffled = replace(context, labels=context.labels[order], rows=context.rows[order])
        assert torch.equal(draw_owners(rule.build(shuffled)), draw_owners(rule.build(context)))

    @pytest.mark.parametrize("k", [2, 3, 4])
    def test_every_modality_owns_a_label(self, rule: Any, k: int) -> None:
        for seed in range(10):
            context = make_context(k, ("a", "b", "c", "d")[:k], seed)
            owners = rule.build(context).draw().tolist()
            assert rule.per_batch or sorted(owners) == list(range(k))

    def test_fewer_labels_than_modalities_are_allowed(self, rule: Any) -> None:
        for seed in range(10):
            assert rule.build(make_context(1, seed=seed)).draw().shape == (1,)

    def test_inner_scores_are_needed_where_declared(self, rule: Any) -> None:
        context = make_context(scores=False)
        if rule.needs_inner_scores:
            with pytest.raises(FusionError, match=r"needs inner_auroc \(k, l\)"):
                rule.build(context)
        else:
            without, with_scores = rule.build(context), rule.build(make_context(scores=True))
            assert torch.equal(draw_owners(without), draw_owners(with_scores))
