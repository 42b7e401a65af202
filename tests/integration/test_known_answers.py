"""Controls with a known answer on generated molecules."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def aurocs(tmp_path_factory, spec_of, run_tiny):
    """Mean AUROC over the folds of every label, of two-dimensional counts and of text."""
    source = {
        "source": "simulated",
        "molecules": 600,
        "labels": 12,
        "stereo": 0.25,
        "permuted": 0.25,
        "skew": 3.0,
    }
    raw = {
        "name": "known",
        "data": {"preset": "simulated", "sources": [source]},
        "split": {"folds": 3, "min_positives": 5},
        "grid": [{"features": [["fingerprint"]]}],
        "training": {"epochs": 15, "hidden": [64]},
    }
    study, record, _ = run_tiny(spec_of(raw, tmp_path_factory.mktemp("known")))
    assert record.missing == 0
    (arm,) = study.plan.arms
    values = np.mean([result.auroc for result in record.results_of(arm)], axis=0)
    positives = study.data.dataset.positives
    n = len(study.data.dataset)
    # A score without information has the variance of the Mann-Whitney statistic in each fold.
    p, q = positives / 3, (n - positives) / 3
    errors = np.sqrt((p + q + 1) / (12 * p * q) / 3)
    names = study.data.dataset.label_names
    return {name: (values[i], errors[i]) for i, name in enumerate(names)}


@pytest.mark.parametrize("kind", ["permuted", "stereo"])
def test_labels_that_two_dimensions_cannot_explain_stay_at_one_half(kind, aurocs):
    found = [pair for name, pair in aurocs.items() if name.startswith(kind)]
    values, errors = map(np.array, zip(*found, strict=True))
    assert len(values) == 3
    assert (abs(values - 0.5) < 3 * errors).all()
    assert abs(values.mean() - 0.5) < 3 * np.sqrt((errors**2).mean() / len(values))


def test_labels_of_the_structure_are_learnt(aurocs):
    values = [value for name, (value, _) in aurocs.items() if name.startswith("structure")]
    assert len(values) == 6
    assert np.mean(values) > 0.75
