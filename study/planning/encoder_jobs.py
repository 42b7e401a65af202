"""The labels that the encoder of a modality is fine-tuned on, if a fixed partition assigns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.partitions import LabelPartition, PartitionContext
from study.config.components import PartitionConfig
from study.errors import TrialError
from study.planning.trials import Trial
from study.plugins.registry import Registry


@dataclass(frozen=True)
class LabelSubset:
    """The labels of one modality under a label partition.

    Attributes
    ----------
    partition : PartitionConfig
        A fixed partition that needs no scores.
    modalities : tuple of str, (k,)
        All modalities of the arm, by their names inside the model.
    owner : str
        The modality that owns these labels.
    """

    partition: PartitionConfig
    modalities: tuple[str, ...]
    owner: str

    def columns(
        self, labels: NDArray[np.uint8], rows: NDArray[np.int64], seed: int
    ) -> NDArray[np.int64]:
        """Return the columns of the owner's labels, in ascending order.

        Parameters
        ----------
        labels : ndarray of uint8, (n_train, l)
            Labels of the training rows.
        rows : ndarray of int64, (n_train,)
        seed : int
            The seed of the arm's own label balancer.

        Raises
        ------
        TrialError
            The partition gives this modality no label.
        """
        rule = Registry("partition").load(self.partition.name)(**self.partition.options)
        partition: LabelPartition = rule.build(
            PartitionContext(self.modalities, labels, rows, seed)
        )
        columns: NDArray[np.int64] = np.flatnonzero(
            partition.owner == self.modalities.index(self.owner)
        )
        if len(columns) == 0:
            raise TrialError(
                f"partition '{self.partition}' gives '{self.owner}' none of the {labels.shape[1]} "
                "labels, so its encoder cannot be fine-tuned; use calibration 'frozen'"
            )
        return columns

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        partition = self.partition.model_dump(mode="json")
        return {**vars(self), "partition": partition, "modalities": list(self.modalities)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LabelSubset:
        """Read a value of `to_json`."""
        partition = PartitionConfig.model_validate(value["partition"])
        return cls(partition, tuple(value["modalities"]), value["owner"])


def find_label_subset(owner: str, trial: Trial) -> LabelSubset | None:
    """Return the labels that the encoder of one modality is fine-tuned on; None: all labels.

    It is all labels if the partition is redrawn for every batch, because every modality then gets
    every label; and if the partition is chosen by inner scores (`affinity`), because these need
    the fine-tuned encoders first.
    """
    partition = trial.arm.partition
    if partition is None:
        return None
    rule = Registry("partition").load(partition.name)
    if rule.per_batch or rule.needs_inner_scores:
        return None
    return LabelSubset(partition, tuple(f.module_name for f in trial.arm.features), owner)
