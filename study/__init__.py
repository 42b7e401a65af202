"""Ablation studies of multimodal odor models: config, data, trials, results and reports."""

from importlib.metadata import version

__version__ = version("olfaction-study")
