"""Tables for split tests: skewed multi-label columns, and small distinct molecules."""

import itertools

import numpy as np
import pytest

HEADS = ("C", "CCCC", "CCCCC", "CCCCCC", "CC(C)", "O", "OCC", "S", "N")
CORES = ("c1ccc(cc1)", "c1ccoc1", "C1CCC(CC1)", "C=CC", "C(=O)O", "C(C)(C)C", "c1cnc(cn1)")
TAILS = ("", "O", "C=O", "C#N")


@pytest.fixture(scope="session")
def molecules():
    """252 distinct molecules without stereo, of many small and some larger clusters."""
    return tuple("".join(parts) for parts in itertools.product(HEADS, CORES, TAILS))


@pytest.fixture(scope="session")
def skewed():
    """Return a maker of labels (n, l) with correlated columns and positives falling to `rarest`."""

    def make(seed, n=1000, l=30, rarest=31):  # noqa: E741 (the alphabet of the project)
        rng = np.random.default_rng(seed)
        hidden = rng.normal(size=(n, 4)) @ rng.normal(size=(4, l))
        order = np.argsort(hidden + rng.normal(size=(n, l)), axis=0)
        labels = np.zeros((n, l), dtype=np.uint8)
        for column, positives in enumerate(np.geomspace(n / 3, rarest, l).round().astype(int)):
            labels[order[:positives, column], column] = 1
        return labels

    return make
