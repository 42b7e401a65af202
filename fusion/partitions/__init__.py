"""Label partitions: which modality is trained on which label.

A public file name in this folder is the name of a partition. Importing one does not import torch
(only drawing owners does), so that planning can read what a partition needs.
"""

from fusion.partitions._base import LabelPartition, Partition, PartitionContext, PartitionRule

__all__ = ["LabelPartition", "Partition", "PartitionContext", "PartitionRule"]
