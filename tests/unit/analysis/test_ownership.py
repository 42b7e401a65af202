"""Label owners: recording in trials, and stability over folds."""

import dataclasses
import io
import json

import numpy as np
import pytest

from study.analysis.sparse_gain import (
    compute_jaccard_similarity,
    compute_owner_agreement,
    read_label_ownership,
)
from study.analysis.study_analysis import StudyAnalysis
from study.errors import InputError
from study.results.trial_result import TrialResult


@pytest.fixture
def balanced(tiny, spec_of, run_tiny, tmp_path):
    """A study with a fixed partition and one that is drawn at every step."""
    block = {**tiny["grid"][1], "technique": ["label_balancer"]}
    block["partition"] = ["round_robin", "random_per_batch"]
    return run_tiny(spec_of({**tiny, "grid": [block]}, tmp_path))[1]


def test_fixed_partition_is_recorded_by_feature_index(balanced):
    (ownership,) = read_label_ownership(StudyAnalysis(balanced, ()))
    assert ownership.arm.partition.name == "round_robin"
    assert ownership.modalities == ownership.arm.names
    assert ownership.owners.shape == (2, len(balanced.data.dataset.label_names))
    for fold, owners in zip(balanced.data.split.folds, ownership.owners, strict=True):
        rows = fold.fit[1.0]
        densest = np.argsort(-balanced.data.dataset.labels[rows].sum(axis=0), kind="stable")
        assert owners[densest].tolist() == [0, 1] * 3  # dealt in turn, the densest first
    assert ownership.agreement == compute_owner_agreement(ownership.owners)


def test_agreement_and_jaccard_by_hand():
    owners = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]])
    # pairs: 3 of 4, 4 of 4, 3 of 4; modality 0: 1/2, 2/2, 1/2; modality 1: 2/3, 2/2, 2/3
    assert compute_owner_agreement(owners) == pytest.approx((3 / 4 + 1 + 3 / 4) / 3)
    assert compute_jaccard_similarity(owners, 2) == pytest.approx(
        (1 / 2 + 2 / 3 + 1 + 1 + 1 / 2 + 2 / 3) / 6
    )
    assert compute_jaccard_similarity(owners, 3) == compute_jaccard_similarity(
        owners, 2
    )  # the third owns nothing anywhere
    assert np.isnan(
        [compute_owner_agreement(owners[:1]), compute_jaccard_similarity(owners[:1], 2)]
    ).all()


def header_of(data):
    """The JSON header of a record."""
    with np.load(io.BytesIO(data)) as stored:
        return json.loads(stored["header"].tobytes())


def test_records_with_and_without_owners_round_trip(launched):
    _, results, _ = launched
    plain = next(iter(results.by_id.values()))
    assert "owners" not in header_of(plain.to_bytes())  # as it was before owners were recorded
    assert TrialResult.from_bytes(plain.to_bytes()) == plain
    owned = dataclasses.replace(plain, owners=(0, 1) * 3)
    assert TrialResult.from_bytes(owned.to_bytes()).owners == (0, 1) * 3
    with pytest.raises(InputError, match="2 owners for 6 labels"):
        dataclasses.replace(plain, owners=(0, 1))
