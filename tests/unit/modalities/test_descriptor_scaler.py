"""The fitted transform against its definition, column by column."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modalities import ModalityError, ModalityFeatures, Ragged
from modalities.nn.scalers import DescriptorScaler

NAN = float("nan")


def table(columns):
    values = np.array(columns, dtype=np.float32).T
    return table_of(values)


def table_of(values):
    field = Ragged(values, np.arange(len(values) + 1))
    return ModalityFeatures(
        "v", tuple("C" * (i + 1) for i in range(len(values))), {"values": field}
    )


def scaler(max_missing=0.2, max_value=1e6, clip=5.0):
    return DescriptorScaler(max_missing=max_missing, max_value=max_value, clip=clip)


def embed(encoder, features, rows):
    return encoder(encoder.collate(features, np.asarray(rows))).numpy()


def test_columns_are_kept_by_the_stated_rules():
    above = np.nextafter(np.float32(1e4), np.float32(2e4))
    columns = {
        "varied": [1, 2, 3, 4, 5],
        "constant": [7, 7, 7, 7, 7],
        "one missing of five": [1, NAN, 3, 4, 5],
        "two missing of five": [1, NAN, NAN, 4, 5],
        "all missing": [NAN] * 5,
        "at the bound": [1e6, 0, 0, 0, 0],
        "beyond the bound": [1, 2, 3, 4, -1.1e6],
        "constant where known": [NAN, 2, 2, 2, 2],
        "varies by rounding": [1e4, 1e4, 1e4, 1e4, above],
    }
    encoder = scaler()
    encoder.fit(table(list(columns.values())), np.arange(5))
    kept = [list(columns)[column] for column in encoder.columns.tolist()]
    assert kept == ["varied", "one missing of five", "at the bound"]
    assert encoder.dim == 3


def test_transform_is_median_signed_log_z_score_and_clip():
    features = table([[-3, 0, NAN, 1, 8, 1e30, NAN]])
    encoder = scaler(clip=2.5)
    encoder.fit(features, np.arange(5))
    known = [-3, 0, 0.5, 1, 8]  # the median of -3, 0, 1, 8 stands in
    logs = np.array([np.sign(x) * np.log(1 + abs(x)) for x in known])
    z = (logs - logs.mean()) / logs.std()
    expected = [*z, 2.5, z[2]]
    np.testing.assert_allclose(embed(encoder, features, range(7))[:, 0], expected, atol=1e-5)


@given(arrays(np.float32, (12, 5), elements=st.floats(-1e5, 1e5, width=32)))
def test_training_rows_are_centered_and_scaled(values):
    encoder = scaler(clip=100.0)
    features = table_of(values)
    try:
        encoder.fit(features, np.arange(12))
    except ModalityError as error:
        assert "varies" in str(error)  # noqa: PT017 (some tables have no varied column)
        return
    scaled = embed(encoder, features, range(12)).astype(np.float64)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=2e-2)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=2e-2)


def test_width_is_unknown_before_fit():
    with pytest.raises(ModalityError, match="DescriptorScaler has no width before fit"):
        _ = scaler().dim


def test_rows_without_any_variation_are_refused():
    with pytest.raises(ModalityError, match="no descriptor varies over the 2 training rows"):
        scaler().fit(table([[1, 1, 5], [NAN, NAN, 2]]), np.arange(2))


def test_state_of_another_width_loads_inside_a_larger_model():
    features = table([[1, 2, 3, 4], [4, 1, 1, 1], [0, 0, 0, 1]])
    encoder, other = scaler(), scaler()
    encoder.fit(features, np.arange(4))
    other.fit(features, np.arange(3))
    assert encoder.dim != other.dim
    torch.nn.ModuleDict({"mordred": other}).load_state_dict(
        torch.nn.ModuleDict({"mordred": encoder}).state_dict()
    )
    np.testing.assert_array_equal(
        embed(other, features, range(4)), embed(encoder, features, range(4))
    )
