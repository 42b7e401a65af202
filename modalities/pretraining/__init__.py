"""Self-supervised pretraining of encoders: molecules alone, no odor label.

A public file name in this folder is the word of an objective. Importing it loads no torch.
"""

from modalities.pretraining._base import MoleculeBatch, PretrainingObjective

__all__ = ["MoleculeBatch", "PretrainingObjective"]
