"""Dropout with 16 random bits a unit: what it drops, and what it leaves alone."""

import pytest
import torch

from fusion import seeded
from fusion.layers import Dropout


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_dropout_keeps_the_share_and_the_mean_that_it_says(rate):
    with seeded(5):
        dropped = Dropout(rate)(torch.ones(400, 500))
    spread = (rate * (1 - rate) / dropped.numel()) ** 0.5
    assert (dropped == 0).double().mean().item() == pytest.approx(rate, abs=5 * spread)
    kept = dropped[dropped != 0].unique()
    torch.testing.assert_close(kept, torch.tensor([1 / (1 - rate)]), rtol=1e-4, atol=0)


def test_units_are_dropped_independently():
    with seeded(5):
        zeros = (Dropout(0.5)(torch.ones(200_000)) == 0).double()
    for lag in (1, 2, 3, 4, 500):  # four units share a draw of 64 bits
        both = (zeros[lag:] * zeros[:-lag]).mean().item()
        assert both == pytest.approx(0.25, abs=2.5 / len(zeros) ** 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(31, 17), (0, 3), (5,)])
def test_shape_and_type_stay_and_the_gradient_is_the_mask(shape, dtype):
    x = torch.randn(shape).abs().add(1).to(dtype).requires_grad_()
    with seeded(5):
        found = Dropout(0.3)(x)
    assert (found.shape, found.dtype) == (shape, dtype)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(gradient == 0, found == 0)
    assert torch.equal(x * gradient, found)


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    x = torch.randn(5, 5)
    assert torch.equal(Dropout(0.3).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
