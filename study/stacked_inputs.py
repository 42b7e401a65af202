"""What the trials of a pack share: tables of embeddings, and scores of single modalities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from study.branches import Branch, branch_of
from study.cells import Feature, TrialSpec
from study.course import Rows
from study.embeddings import job_of
from study.inner import inner_auroc
from study.inputs import Inputs
from study.packs import place_of
from study.training import Gather, Part


def table_of(branch: Branch, molecules: int) -> Branch:
    """Return a branch whose embeddings are ready with all of them in one tensor."""
    values: torch.Tensor = branch.gather(np.arange(molecules))

    def gather(rows: Rows) -> torch.Tensor:
        return values.index_select(0, torch.tensor(rows))

    return Branch(None, gather, branch.dim)


class SharedInputs:
    """Reads each table, and measures each modality alone, once for the trials of a pack.

    Tables are standardized or fitted on the training rows of a place (repeat, fold, fraction).
    Only those of the current place are kept: trials come place by place.
    """

    def __init__(self) -> None:
        self._place: Hashable = None
        self._tables: dict[Hashable, Branch] = {}
        self._scores: dict[Hashable, NDArray[np.float64]] = {}

    def branch(self, feature: Feature, trial: TrialSpec, inputs: Inputs, training: Rows) -> Branch:
        """Do what `branch_of` does; an encoder that the trial trains is made anew."""
        if feature.choice.resolved == "joint":
            return branch_of(feature, trial, inputs, training)
        if self._place != place_of(trial):
            self._place, self._tables = place_of(trial), {}
        job = job_of(feature, trial)
        key = (feature.key, inputs.job_id(job) if job else None)
        if key not in self._tables:
            branch = branch_of(feature, trial, inputs, training)
            self._tables[key] = table_of(branch, len(inputs.dataset))
        return self._tables[key]

    def inner(
        self,
        branches: Mapping[str, tuple[Gather, int]],
        training: Part,
        validation: Part,
        groups: NDArray[np.int64],
        trial: TrialSpec,
    ) -> NDArray[np.float64]:
        """Do what `inner_auroc` does: a modality's scores do not depend on the others'."""
        keys = {feature.slot: feature.key for feature in trial.cell.features}
        numbers = trial.cell.training.model_dump_json()
        values = []
        for name, branch in branches.items():
            key = (keys[name], place_of(trial), trial.seed, numbers)
            if key not in self._scores:
                own = {name: branch}
                self._scores[key] = inner_auroc(own, training, validation, groups, trial)
            values.append(self._scores[key])
        return np.concatenate(values)
