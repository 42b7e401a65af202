"""What the trials of a pack share: tables of embeddings, and scores of single modalities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Table(Branch):
    """Embeddings of the whole table, ready, in memory once for all trials that read them.

    Attributes
    ----------
    values : Tensor, (n, d)
    """

    values: torch.Tensor


def table_of(branch: Branch, molecules: int) -> Table:
    """Return a branch whose embeddings are ready with all of them in one tensor."""
    values: torch.Tensor = branch.gather(np.arange(molecules))

    def gather(rows: Rows) -> torch.Tensor:
        return values.index_select(0, torch.tensor(rows))

    return Table(None, gather, branch.dim, values)


class SharedInputs:
    """Reads each table, and measures each modality alone, once for the trials of a pack.

    Tables are standardized or fitted on the training rows of a place (repeat, fold, fraction):
    those of `places` places are kept, the ones used last.

    Parameters
    ----------
    places : int
        1 for trials that come place by place.
    """

    def __init__(self, places: int = 1) -> None:
        self._places = places
        self._kept: dict[Hashable, dict[Hashable, Branch]] = {}
        self._scores: dict[Hashable, NDArray[np.float64]] = {}

    def branch(self, feature: Feature, trial: TrialSpec, inputs: Inputs, training: Rows) -> Branch:
        """Do what `branch_of` does; an encoder that the trial trains is made anew."""
        if feature.choice.resolved == "joint":
            return branch_of(feature, trial, inputs, training)
        job, tables = job_of(feature, trial), self._at(place_of(trial))
        key = (feature.key, inputs.job_id(job) if job else None)
        if key not in tables:
            branch = branch_of(feature, trial, inputs, training)
            tables[key] = table_of(branch, len(inputs.dataset))
        return tables[key]

    def _at(self, place: Hashable) -> dict[Hashable, Branch]:
        tables = self._kept.pop(place, {})
        self._kept[place] = tables
        while len(self._kept) > self._places:
            self._kept.pop(next(iter(self._kept)))
        return tables

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
