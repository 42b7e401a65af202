"""Self-supervised pretraining of encoders: molecules alone, no odor label.

A public file name in this folder is the word of an objective. Importing it loads no torch.
"""

from modalities.pretraining._base import Molecules, Objective

__all__ = ["Molecules", "Objective"]
