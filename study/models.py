"""The model of a trial: its encoders and the head of its arm."""

from __future__ import annotations

from collections.abc import Mapping

from fusion import MultimodalModel, seeded
from study.branches import Branch
from study.cells import TrialSpec
from study.heads import InnerScores, build_head, partition_context
from study.inner import inner_auroc
from study.inputs import Inputs
from study.training import Part


def model_of(
    trial: TrialSpec,
    branches: Mapping[str, Branch],
    inputs: Inputs,
    training: Part,
    validation: Part,
    inner: InnerScores = inner_auroc,
) -> MultimodalModel:
    """Build the model of a trial from its seed; nothing of it is trained yet.

    Parameters
    ----------
    trial : TrialSpec
    branches : mapping of slot to Branch
    inputs : Inputs
    training, validation : Part
        What a label partition may be chosen on.
    inner : function
        Measures the inner scores that a partition asks for: `inner_auroc`, or what remembers.
    """
    dims = {name: branch.dim for name, branch in branches.items()}
    context = None
    if trial.cell.technique == "label_balancer":
        context = partition_context(trial, branches, inputs, training, validation, inner)
    with seeded(trial.torch_seed):
        head = build_head(trial.cell, dims, len(inputs.dataset.label_names), context)
    return MultimodalModel({name: branch.encoder for name, branch in branches.items()}, head)
