"""Self-supervised pretraining of encoders: molecules alone, no odor label.

A public file name in this folder is the name of an objective. Importing one does not load torch.
"""

from modalities.pretraining._base import MoleculeBatch, PretrainingObjective

__all__ = ["MoleculeBatch", "PretrainingObjective"]
