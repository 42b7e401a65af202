import numpy as np
import pytest
import torch
from modality_words import features_of

from modalities import ModalityError
from modalities.fingerprint import Fingerprint


def counts(smiles, **options):
    return Fingerprint(**options).featurize(smiles)["counts"][0]


def test_counts_are_of_environments():
    # Ethane: two equal atoms at radius 0. At radius 1 both see the whole molecule: one of the
    # two duplicates is kept by Morgan's rule.
    assert sorted(counts("CC", radius=0)[counts("CC", radius=0) > 0]) == [2]
    hexane, decane = counts("CCCCCC", radius=0), counts("CCCCCCCCCC", radius=0)
    assert sorted(hexane[hexane > 0]) == [2, 4]
    assert sorted(decane[decane > 0]) == [2, 8]


def test_options_shape_the_vector():
    assert counts("CCO").shape == (2048,)
    assert counts("CCO", size=64).shape == (64,)
    assert counts("CCO").dtype == np.uint16
    left, right = "C[C@H](O)CC", "C[C@@H](O)CC"
    assert np.array_equal(counts(left), counts(right))
    assert not np.array_equal(counts(left, chirality=True), counts(right, chirality=True))


def test_encoder_logs_the_counts_that_vary_over_the_training_rows():
    features = features_of(Fingerprint(radius=0, size=512), ["CC", "CCC", "CCCC", "CCO"])
    encoder = Fingerprint().encoder(seed=0)
    encoder.fit(features, np.arange(3))
    table = features.matrix("counts")
    varied = [c for c in range(512) if len(set(table[:3, c].tolist())) > 1]
    assert encoder.dim == len(varied) == 1  # CH2: 0, 1, 2; CH3 is always 2, OH is not in training
    embedding = encoder(encoder.collate(features, np.array([2, 0, 1])))
    torch.testing.assert_close(embedding[:, 0], torch.tensor([2.0, 0.0, 1.0]).log1p())


def test_no_variation_is_refused():
    features = features_of(Fingerprint(), ["CC", "CCC"])
    with pytest.raises(ModalityError, match="no count varies over the 1 training rows"):
        Fingerprint().encoder(seed=0).fit(features, np.array([1]))


@pytest.mark.parametrize(("option", "value"), [("radius", -1), ("size", 0)])
def test_options_are_checked(option, value):
    with pytest.raises(ModalityError, match=f"'fingerprint': {option} must be .*, not {value}"):
        Fingerprint(**{option: value})
