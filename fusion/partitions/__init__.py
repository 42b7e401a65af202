"""Label partitions: which modality is trained on which label.

A public file name in this folder is the word of a partition. Importing one does not import
torch (only drawing owners does), so a planner can ask a word what it needs.
"""

from fusion.partitions._base import LabelPartition, Partition, PartitionContext, PartitionRule

__all__ = ["LabelPartition", "Partition", "PartitionContext", "PartitionRule"]
