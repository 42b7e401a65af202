"""Build the model of an arm: encoders, head, label balancer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fusion import LabelBalancer, MultimodalModel, SingleHead, seeded
from fusion.partitions import PartitionContext
from study.artifacts.study_data import StudyData
from study.errors import InputError
from study.planning.trials import Arm, Trial
from study.plugins.registry import Registry
from study.training.encoders import EncodedModality, head_shape
from study.training.inner_scores import compute_inner_auroc
from study.training.supervised import Gather, LabeledRows

InnerScores = Callable[
    [Mapping[str, tuple[Gather, int]], LabeledRows, LabeledRows, NDArray[np.int64], Trial],
    NDArray[np.float64],
]


def build_head(
    arm: Arm, dims: Mapping[str, int], n_labels: int, context: PartitionContext | None
) -> nn.Module:
    """Build the head of an arm: one modality, a fusion operator, or the label balancer."""
    shape = head_shape(arm.training)
    if arm.technique == "single":
        return SingleHead(dims, n_labels, shape)
    if arm.fusion is not None:
        operator = Registry("operator").load(arm.fusion.name)
        module: nn.Module = operator(dims, n_labels, shape, **arm.fusion.options)
        return module
    if arm.partition is None or context is None:
        raise TypeError(f"{arm}: the technique '{arm.technique}' has no head")
    rule = Registry("partition").load(arm.partition.name)(**arm.partition.options)
    return LabelBalancer(dims, n_labels, shape, rule.build(context))


def partition_context(
    trial: Trial,
    branches: Mapping[str, EncodedModality],
    data: StudyData,
    training: LabeledRows,
    validation: LabeledRows,
    inner: InnerScores = compute_inner_auroc,
) -> PartitionContext:
    """Build the context of a label partition: training rows, and inner scores if it needs them.

    `inner` computes the inner scores: `compute_inner_auroc`, or a function that caches it.

    Raises
    ------
    FusionError
        A row that the partition would be chosen on is in the test fold of the trial.
    InputError
        A validation row is in the test fold.
    """
    test = data.fold(trial).test
    shared = np.intersect1d(validation.rows, test)
    if len(shared):
        raise InputError(
            f"{trial}: validation row {shared[0]} is in the test fold; a partition may not be "
            "chosen with test rows: build the split again"
        )
    partition = trial.arm.partition
    rule = Registry("partition").load(partition.name) if partition else None
    scores = None
    if rule is not None and rule.needs_inner_scores:
        gather = {name: (branch.gather, branch.dim) for name, branch in branches.items()}
        groups = data.split.groups[training.rows]
        scores = inner(gather, training, validation, groups, trial)
    names = tuple(branches)
    measured = None if scores is None else training.rows
    seed = trial.torch_seed
    context = PartitionContext(names, training.labels, training.rows, seed, scores, measured)
    return context.check_no_test_rows(test)


def label_owners(model: nn.Module) -> tuple[int, ...]:
    """Return the index of the modality that owns each label, (l,).

    Empty if the owners change at every step, or if the head is no label balancer.
    """
    head = getattr(model, "head", None)
    owner = head.owner if isinstance(head, LabelBalancer) else None
    return () if owner is None else tuple(int(value) for value in owner.tolist())


def build_model(
    trial: Trial,
    branches: Mapping[str, EncodedModality],
    data: StudyData,
    training: LabeledRows,
    validation: LabeledRows,
    inner: InnerScores = compute_inner_auroc,
) -> MultimodalModel:
    """Build the untrained model of a trial from its seed.

    Parameters
    ----------
    trial : Trial
    branches : mapping of slot to EncodedModality
    data : StudyData
    training, validation : LabeledRows
        Rows that a label partition may be chosen on.
    inner : function
        Computes the inner scores that a partition may need: `compute_inner_auroc`, or a function
        that caches it.
    """
    dims = {name: branch.dim for name, branch in branches.items()}
    context = None
    if trial.arm.technique == "label_balancer":
        context = partition_context(trial, branches, data, training, validation, inner)
    with seeded(trial.torch_seed):
        head = build_head(trial.arm, dims, len(data.dataset.label_names), context)
    return MultimodalModel({name: branch.encoder for name, branch in branches.items()}, head)
