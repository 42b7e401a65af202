"""The network on descriptors: its scaler beside the fitted transform's, and what weights bring."""

import numpy as np
import pytest
import torch
from modality_words import MOLECULES, features_of

from modalities import ModalityError, ModalityFeatures, Ragged
from modalities.mordred import DESCRIPTORS, Mordred
from modalities.mordred_network import MordredNetwork
from modalities.nn.scalers import DescriptorScaler
from modalities.nn.tabular import ScaledColumns

LIMITS = {"max_missing": 0.2, "max_value": 1e6, "clip": 5.0}
ALL, TRAIN, OTHER = np.arange(14), np.arange(9), np.arange(4, 14)
SMALL = {"width": 8, "layers": 2, "embedding": 4}


@pytest.fixture(scope="module")
def features():
    return features_of(Mordred())


def fitted(features, rows, **options):
    encoder = MordredNetwork(**SMALL, **options).encoder(seed=1)
    encoder.fit(features, rows)
    return encoder.eval()


def test_scaled_columns_equal_the_descriptor_scaler(features):
    ours, theirs = ScaledColumns(DESCRIPTORS, **LIMITS), DescriptorScaler(**LIMITS)
    for scaler in (ours, theirs):
        scaler.fit(features, TRAIN)
    batch = theirs.collate(features, ALL)
    scaled, expected = ours(batch["values"]), theirs(batch)
    assert torch.equal(scaled[:, theirs.columns], expected)
    dropped = np.setdiff1d(np.arange(DESCRIPTORS), theirs.columns)
    assert dropped.size
    assert (scaled[:, dropped] == 0).all()


def test_present_values_are_known_and_in_kept_columns():
    values = np.array(
        [[1, 5, np.nan], [2, 5, 3], [3, 5, 4], [4, 5, 6], [5, 5, 7]], dtype=np.float32
    )
    field = Ragged(values, np.arange(6))
    scaler = ScaledColumns(3, **LIMITS)
    scaler.fit(ModalityFeatures("v", tuple("CNOSP"), {"values": field}), np.arange(5))
    present = scaler.present(torch.from_numpy(values))
    assert present.tolist() == [[True, False, False]] + 4 * [[True, False, True]]


def test_shapes_of_the_weights_do_not_depend_on_the_rows(features):
    one, other = (fitted(features, rows).state_dict() for rows in (TRAIN, OTHER))
    assert {n: v.shape for n, v in one.items()} == {n: v.shape for n, v in other.items()}
    assert not torch.equal(one["scaler.kept"], other["scaler.kept"])


def test_fit_does_not_change_a_loaded_scaler(features, tmp_path):
    pretrained = fitted(features, TRAIN)
    torch.save(pretrained.state_dict(), tmp_path / "weights.pt")
    again = fitted(features, OTHER, weights=str(tmp_path))
    same = again.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in pretrained.state_dict().items())
    with torch.no_grad():
        batch = again.collate(features, ALL)
        assert torch.equal(again(batch), pretrained(batch))


def test_weights_of_another_shape_are_refused(features, tmp_path):
    torch.save(fitted(features, TRAIN).state_dict(), tmp_path / "weights.pt")
    wider = MordredNetwork(width=9, layers=2, embedding=4, weights=str(tmp_path))
    with pytest.raises(ModalityError, match="of another architecture than TabularEncoder"):
        wider.encoder(seed=1)


def test_network_without_fit_is_refused(features):
    encoder = MordredNetwork(**SMALL).encoder(seed=1).eval()
    with pytest.raises(ModalityError, match="scaler was never fitted: call fit on training rows"):
        encoder(encoder.collate(features, TRAIN))


def test_stages_are_the_hidden_layers_and_the_projection(features):
    encoder = fitted(features, TRAIN)
    assert [type(stage) for stage in encoder.stages()] == 2 * [torch.nn.Sequential] + [
        torch.nn.Linear
    ]
    with torch.no_grad():
        x = encoder.scaler(encoder.collate(features, ALL)["values"])
        for stage in encoder.stages():
            x = stage(x)
        assert torch.equal(x, encoder(encoder.collate(features, ALL)))
    assert x.shape == (len(MOLECULES), 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "'mordred_network': width must be 1 or more, not 0"),
        ({"layers": 0}, "'mordred_network': layers must be 1 or more, not 0"),
        ({"dropout": 1.0}, "'mordred_network': dropout must be from 0 to below 1, not 1.0"),
        ({"sha256": "ab"}, "'mordred_network': sha256 must be left out with random weights"),
        ({"clip": 0.0}, "clip must be above 0, not 0.0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ModalityError, match=message):
        MordredNetwork(**options)
