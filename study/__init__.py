"""The study: the question, the data, the trials and the record."""

from importlib.metadata import version

__version__ = version("olfaction-study")
